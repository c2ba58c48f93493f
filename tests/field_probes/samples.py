"""What probes of several dialects say: small files, schemas, signatures."""

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
OTHER_PNG = PNG.replace("AAAA", "AAAB")
PDF = "JVBERi0xLjQKJSVFT0YK"
OTHER_PDF = PDF + "JSUK"
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEA"

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
OTHER_SCHEMA = {"type": "object", "properties": {"zip": {"type": "string"}}, "required": ["zip"]}
CLOSED_SCHEMA = {**SCHEMA, "additionalProperties": False}
OTHER_CLOSED_SCHEMA = {**OTHER_SCHEMA, "additionalProperties": False}

# Signatures begin so, Claude's and Gemini's; what is in them, none but their makers know.
CLAUDE_SIGNATURE = "EiAKEAgBGAKrq6urq6urq6urEgyrq6urq6urq6urq6s="
OTHER_CLAUDE_SIGNATURE = CLAUDE_SIGNATURE.replace("q6u", "q7u")
GEMINI_SIGNATURE = "EhQKEgEIq6urq6urq6urq6urq6urqw=="
OTHER_GEMINI_SIGNATURE = GEMINI_SIGNATURE.replace("q6u", "q7u")
