"""`aigateway.routing`: which targets a model name leads to."""

from __future__ import annotations

from unittest import TestCase

from aigateway.config import Account, ClientKey, Config, Provider, Route, Target
from aigateway.errors import MalformedRequest, UnknownModel
from aigateway.routing import MAX_CACHED, MAX_LISTED, Router


def provider(name: str, kind: str | None = None, models: tuple[str, ...] = ()) -> Provider:
    return Provider(name=name, kind=kind or name, accounts=(Account(name="a"),), models=models)


def config(*providers: Provider, routes: tuple[Route, ...] = ()) -> Config:
    return Config(providers={each.name: each for each in providers}, routes=routes)


def route(model: str, *targets: Target) -> Route:
    return Route(model=model, targets=targets)


class Targets(TestCase):
    def test_the_first_route_that_matches_wins(self) -> None:
        """Order decides, not how exact a pattern is; a target without a model is asked for the
        client's name."""
        routes = (
            route("gpt-4*", Target("openai")),
            route("gpt-4o", Target("glm", "never")),
            route("fast", Target("glm", "glm-4/flash"), Target("openai", "gpt-4o-mini")),
        )
        router = Router(config(provider("openai"), provider("glm"), routes=routes))
        self.assertEqual(router.targets("gpt-4o").targets, (("openai", "gpt-4o"),))
        self.assertIs(router.targets("gpt-4o").route, routes[0])
        self.assertEqual(router.targets("fast").targets, (("glm", "glm-4/flash"), ("openai", "gpt-4o-mini")))

    def test_patterns_mind_the_case(self) -> None:
        """A model's name in other letters is another model."""
        router = Router(config(provider("openai"), routes=(route("GPT-?", Target("openai")),)))
        self.assertEqual(router.targets("GPT-4").targets, (("openai", "GPT-4"),))
        with self.assertRaises(UnknownModel):
            router.targets("gpt-4")

    def test_a_name_that_looks_like_a_pattern_matches_itself(self) -> None:
        """Brackets in a model's name do not keep a route from it."""
        router = Router(config(provider("openai"), routes=(route("opus[1m]", Target("openai")),)))
        self.assertEqual(router.targets("opus[1m]").targets, (("openai", "opus[1m]"),))

    def test_without_routes_the_family_decides(self) -> None:
        """Each family of names goes to the provider kind that serves it."""
        router = Router(
            config(provider("openai"), provider("glm"), provider("gemini"), provider("antigravity"))
        )
        for model, name in (
            ("gpt-4o", "openai"),
            ("o1-mini", "openai"),
            ("o3", "openai"),
            ("o4-mini", "openai"),
            ("chatgpt-4o-latest", "openai"),
            ("glm-4.6", "glm"),
            ("gemini-3-flash", "antigravity"),
            ("claude-sonnet-4-6", "antigravity"),
        ):
            with self.subTest(model):
                self.assertEqual(router.targets(model).targets, ((name, model),))

    def test_gemini_serves_where_antigravity_is_not_configured(self) -> None:
        """Its models go there; Claude's then have nobody."""
        router = Router(config(provider("gemini")))
        self.assertEqual(router.targets("gemini-3-flash").targets, (("gemini", "gemini-3-flash"),))
        with self.assertRaises(UnknownModel):
            router.targets("claude-sonnet-4-6")

    def test_claude_goes_to_its_maker(self) -> None:
        """Where Anthropic is configured it serves its models, not Antigravity."""
        router = Router(config(provider("antigravity"), provider("anthropic")))
        self.assertEqual(router.targets("claude-opus-5").targets, (("anthropic", "claude-opus-5"),))

    def test_the_provider_named_like_its_kind_is_the_default_one(self) -> None:
        """Of several of one kind it serves the family, wherever it stands; else the first does."""
        local, cloud = provider("local", "openai"), provider("openai")
        self.assertEqual(Router(config(local, cloud)).targets("gpt-4o").targets, (("openai", "gpt-4o"),))
        other = provider("other", "openai")
        self.assertEqual(Router(config(local, other)).targets("gpt-4o").targets, (("local", "gpt-4o"),))

    def test_routes_replace_the_families(self) -> None:
        """Once there is a route, a name that none takes is unknown."""
        router = Router(config(provider("openai"), routes=(route("fast", Target("openai", "gpt-4o")),)))
        with self.assertRaises(UnknownModel):
            router.targets("gpt-4o")

    def test_a_listed_model_needs_no_route(self) -> None:
        """It goes to all providers that list it, before the families and after the routes."""
        cloud, local = provider("openai"), provider("local", "openai", ("gpt-oss", "llama"))
        spare = provider("spare", "openai", ("llama",))
        router = Router(config(cloud, local, spare))
        self.assertEqual(router.targets("gpt-oss").targets, (("local", "gpt-oss"),))
        self.assertEqual(router.targets("llama").targets, (("local", "llama"), ("spare", "llama")))
        router = Router(config(cloud, local, routes=(route("ll*", Target("openai", "gpt-4o")),)))
        self.assertEqual(router.targets("llama").targets, (("openai", "gpt-4o"),))
        self.assertEqual(router.targets("gpt-oss").targets, (("local", "gpt-oss"),))

    def test_an_unknown_model_is_told_what_there_is(self) -> None:
        """The message names the model and the known ones; the error is about the field."""
        router = Router(config(provider("openai", models=("tuned",))))
        with self.assertRaises(UnknownModel) as raised:
            router.targets("gtp-9")
        expected = 'no target serves model "gtp-9"; known: tuned, gpt-*, o1*, o3*, o4*, chatgpt-*'
        self.assertEqual(raised.exception.message, expected)
        self.assertEqual((raised.exception.param, raised.exception.code), ("model", "model_not_found"))

    def test_what_there_is_may_be_too_much_to_tell(self) -> None:
        """The list in the message is bounded, and says how much it leaves out."""
        models = tuple(f"m{number}" for number in range(MAX_LISTED + 3))
        with self.assertRaises(UnknownModel) as raised:
            Router(config(provider("glm", models=models))).targets("x")
        self.assertTrue(raised.exception.message.endswith(f", m{MAX_LISTED - 1} and 4 more"))

    def test_what_is_no_name_is_refused(self) -> None:
        """Empty, overlong and unprintable names are malformed, whatever a pattern would take."""
        router = Router(config(provider("openai"), routes=(route("*", Target("openai")),)))
        for model in ("", "a" * 257, "a\nb", "a\x00", "a\x7f", "a\u2028b", "a\ud800"):
            with self.subTest(repr(model)), self.assertRaises(MalformedRequest) as raised:
                router.targets(model)
            self.assertEqual(raised.exception.param, "model")
        self.assertEqual(router.targets("模" * 256).targets, (("openai", "模" * 256),))

    def test_names_that_clients_invent_do_not_pile_up(self) -> None:
        """What is remembered of resolved names is bounded."""
        router = Router(config(provider("openai"), routes=(route("*", Target("openai")),)))
        first = router.targets("m")
        self.assertIs(router.targets("m"), first)
        for number in range(MAX_CACHED):
            router.targets(f"m{number}")
        self.assertIsNot(router.targets("m"), first)


class Models(TestCase):
    def test_exact_names_are_listed_once_with_their_owner(self) -> None:
        """Routes and providers' lists make one list without patterns; the provider
        that is asked first owns a name."""
        routes = (
            route("tuned", Target("glm")),
            route("gpt-*", Target("openai")),
            route("fast", Target("glm", "glm-4-flash"), Target("openai")),
        )
        providers = (provider("openai", models=("gpt-4o", "tuned")), provider("glm", models=("gpt-4o",)))
        router = Router(config(*providers, routes=routes))
        self.assertEqual(router.models(), (("tuned", "glm"), ("fast", "glm"), ("gpt-4o", "openai")))

    def test_the_families_are_not_listed(self) -> None:
        """Without routes and lists there is no name that is known to exist."""
        self.assertEqual(Router(config(provider("openai"))).models(), ())

    def test_the_owner_is_who_is_asked(self) -> None:
        """Where a pattern stands before the exact name, each listed name still leads to its owner."""
        routes = (route("gpt-*", Target("glm")), route("gpt-4o", Target("openai")))
        router = Router(config(provider("openai", models=("gpt-5",)), provider("glm"), routes=routes))
        for model, owner in router.models():
            self.assertEqual(router.targets(model).targets[0][0], owner)


class Allowed(TestCase):
    def test_a_key_may_be_for_some_models_only(self) -> None:
        """Its patterns decide; a key without any, and no key at all, may ask for everything."""
        router = Router(config(provider("openai")))
        key = ClientKey(name="a", digest=b"", models=("fast", "gpt-4*"))
        allowed = [model for model in ("fast", "gpt-4o", "gpt-5", "FAST") if router.allowed(key, model)]
        self.assertEqual(allowed, ["fast", "gpt-4o"])
        self.assertTrue(router.allowed(ClientKey(name="b", digest=b""), "gpt-5"))
        self.assertTrue(router.allowed(None, "gpt-5"))
