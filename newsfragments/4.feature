It never hangs, never leaks, never lies. Six limits on every wait, `min_rate` among them; accounts with weights,
conversations that keep theirs, rests by what providers say, and a queue while all rest; one layer of retries with a
budget, backoff, ejection and probes; `hedge` for slow targets and `continuation` for answers that break off, by route.
Limits and budgets for client keys, with a usage ledger in the state file. Admission control, a throttle for wrong keys, and
heavy JSON in a thread. SIGHUP reloads; `python -m aigateway.parent` replaces the gateway under load. The simulated
providers rehearse some fifty faults (docs/faults.md), and docs/reliability.md says what is promised and how it is shown.
