Every client and every provider. Anthropic is a provider; OpenAI's Responses and Gemini's `generateContent` are
forms for clients, so that Claude Code, Codex CLI, Gemini CLI and the vendors' SDKs work with whichever provider
answers. Where both sides speak the same form, answers go through as they came; elsewhere what a request loses is
told, by `x-aigateway-dropped`, `POST /v1/explain` and docs/fields.md. Servers that follow OpenAI are known by name
(`server = "mistral"`), Azure among them. Signatures that models want back are remembered for clients that strip them,
in a SQLite file if `state` names one. Tokens are counted (`count_tokens`, `countTokens`), and `GET /metrics` is for
Prometheus. `python -m aigateway.check` checks a recorded stream.
