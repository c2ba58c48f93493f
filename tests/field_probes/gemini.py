"""Probes for Gemini's generateContent. See `tests.field_probes.observed` for what the tables mean."""

from __future__ import annotations

from typing import Any

from .samples import (
    CLOSED_SCHEMA,
    GEMINI_SIGNATURE,
    OTHER_PNG,
    OTHER_SCHEMA,
    PDF,
    PNG,
    SCHEMA,
)

DECLARED: dict[str, Any] = {"name": "weather", "parametersJsonSchema": SCHEMA}
TOOL: dict[str, Any] = {"functionDeclarations": [DECLARED]}
ASKED: dict[str, Any] = {"role": "user", "parts": [{"text": "Will it rain?"}]}

BASE: dict[str, Any] = {"contents": [ASKED], "tools": [TOOL]}


def _with(part: dict[str, Any]) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [part, *ASKED["parts"]]}]}


def _said(*parts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    hello = {"role": "user", "parts": [{"text": "Hello"}]}
    answer = {"text": "Hello to you"}
    return (
        {"contents": [hello, {"role": "model", "parts": [*parts, answer]}, ASKED]},
        {"contents": [hello, {"role": "model", "parts": [answer]}, ASKED]},
    )


def _called(call: dict[str, Any], response: dict[str, Any], **part: Any) -> dict[str, Any]:
    call = {"name": "weather", "args": {"city": "Oslo"}, "id": "call-1", **call}
    answer = {"name": "weather", "response": {"output": "Yes"}, "id": "call-1", **response}
    return {
        "contents": [
            ASKED,
            {"role": "model", "parts": [{"functionCall": call, **part}]},
            {"role": "user", "parts": [{"functionResponse": answer}]},
        ]
    }


def _configured(**config: Any) -> dict[str, Any]:
    return {"generationConfig": config}


_PART = "contents[].parts[]"
_IMAGE = {"inlineData": {"mimeType": "image/png", "data": PNG}}
_RENAMED = _called({"name": "tides"}, {"name": "tides"})
# What Google runs, by the tool's field.
_HOSTED: dict[str, Any] = {
    "codeExecution": {},
    "computerUse": {"environment": "ENVIRONMENT_BROWSER"},
    "enterpriseWebSearch": {"excludeDomains": ["example.org"]},
    "exaAiSearch": {"apiKey": "k"},
    "fileSearch": {"fileSearchStoreNames": ["fileSearchStores/a"]},
    "googleMaps": {"enableWidget": True},
    "googleSearch": {"excludeDomains": ["example.org"]},
    "googleSearchRetrieval": {"dynamicRetrievalConfig": {"dynamicThreshold": 0.3}},
    "mcpServers": [{"name": "tides", "streamableHttpTransport": {"url": "https://example.org/mcp"}}],
    "parallelAiSearch": {"apiKey": "k"},
    "retrieval": {"vertexAiSearch": {"datastore": "d"}},
    "urlContext": {},
}
# Parts that come of it, and what only Google reads of others.
_HOSTED_PARTS: dict[str, Any] = {
    "audioTranscription": {"text": "Rain"},
    "codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"},
    "executableCode": {"language": "PYTHON", "code": "1"},
    "toolCall": {"id": "t1", "toolType": "GOOGLE_SEARCH_WEB", "args": {"queries": ["rain"]}},
    "toolResponse": {"id": "t1", "toolType": "GOOGLE_SEARCH_WEB", "response": {"a": 1}},
}
_BESIDE_A_PART: dict[str, Any] = {
    "audioMetadata": {"startOffset": "1s"},
    "documentMetadata": {"startPage": 1},
    "mediaProcessing": "MEDIA_PROCESSING_FULL",
    "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"},
    "partMetadata": {"a": 1},
    "speechMetadata": {"speaker": "Anna"},
    "spreadsheetMetadata": {"sheetIndex": 1},
    "videoMetadata": {"fps": 1},
}
_BESIDE_A_RESULT: dict[str, Any] = {
    name: value for name, value in _BESIDE_A_PART.items() if name not in ("partMetadata", "speechMetadata")
}
_CONFIG_OF_MEDIA: dict[str, Any] = {
    "audioTranscriptionConfig": {"diarization": True},
    "generationOutputConfig": {"outputUriPrefix": "gs://a"},
    "imageConfig": {"aspectRatio": "1:1"},
    "modelSelectionConfig": {"featureSelectionPreference": "BALANCED"},
    "responseFormat": [{"text": {"mimeType": "APPLICATION_JSON"}}],
    "routingConfig": {"manualMode": {"modelName": "gemini-2.5-flash"}},
    "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
    "translationConfig": {"targetLanguageCode": "nb"},
}

CONTEXTS: dict[str, Any] = {
    _PART: _with({"text": "Hello."}),
    "contents[].role": (_said()[0], {"contents": [*_said()[0]["contents"][:1], *[ASKED] * 2]}),
    f"{_PART}.text": _with({"text": "Good evening."}),
    f"{_PART}.inlineData": _with(_IMAGE),
    f"{_PART}.inlineData.displayName": (
        _with({"inlineData": {"mimeType": "application/pdf", "data": PDF, "displayName": "almanac"}}),
        _with({"inlineData": {"mimeType": "application/pdf", "data": PDF}}),
    ),
    f"{_PART}.fileData": _with(
        {"fileData": {"fileUri": "https://example.org/a.png", "mimeType": "image/png"}}
    ),
    f"{_PART}.thought": _said({"text": "Greet.", "thought": True}),
    f"{_PART}.thoughtSignature": (
        _called({}, {}, thoughtSignature=GEMINI_SIGNATURE),
        _called({}, {}),
    ),
    f"{_PART}.functionCall": _called({}, {}),
    f"{_PART}.functionCall.id": (_called({"id": "call-2"}, {"id": "call-2"}), _called({}, {})),
    f"{_PART}.functionCall.name": (_RENAMED, _called({}, {})),
    f"{_PART}.functionResponse": _called({}, {}),
    f"{_PART}.functionResponse.id": (_called({"id": "call-2"}, {"id": "call-2"}), _called({}, {})),
    f"{_PART}.functionResponse.name": (_RENAMED, _called({}, {})),
    f"{_PART}.functionResponse.parts[].inlineData": _called({}, {"parts": [_IMAGE]}),
    f"{_PART}.functionResponse.parts[].fileData": _called(
        {}, {"parts": [{"fileData": {"fileUri": "https://example.org/a.png", "mimeType": "image/png"}}]}
    ),
    f"{_PART}.functionCall.partialArgs": (
        _called({"partialArgs": [{"jsonPath": "$.city", "stringValue": "Bergen"}]}, {}),
        _called({}, {}),
    ),
    **{
        f"{_PART}.functionResponse.parts[].{name}": (
            _called({}, {"parts": [{**_IMAGE, name: value}]}),
            _called({}, {"parts": [_IMAGE]}),
        )
        for name, value in _BESIDE_A_RESULT.items()
    },
    **{f"{_PART}.{name}": _with({name: value}) for name, value in _HOSTED_PARTS.items()},
    **{
        f"{_PART}.{name}": (_with({**_IMAGE, name: value}), _with(_IMAGE))
        for name, value in _BESIDE_A_PART.items()
    },
    "systemInstruction": {"systemInstruction": {"parts": [{"text": "Be brief."}]}},
    **{f"tools[].{name}": {"tools": [TOOL, {name: value}]} for name, value in _HOSTED.items()},
    "tools[].functionDeclarations[].parameters": (
        {
            "tools": [
                {
                    "functionDeclarations": [
                        {"name": "weather", "parameters": {**OTHER_SCHEMA, "type": "OBJECT"}}
                    ]
                }
            ]
        },
        {"tools": [{"functionDeclarations": [{"name": "weather"}]}]},
    ),
    "toolConfig.functionCallingConfig": {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
    # Beside tools, some models take none; and a schema means nothing without its media type.
    "generationConfig.responseMimeType": (
        {"tools": None, **_configured(responseMimeType="application/json")},
        {"tools": None},
    ),
    "generationConfig.responseSchema": (
        {
            "tools": None,
            **_configured(responseMimeType="application/json", responseSchema={**SCHEMA, "type": "OBJECT"}),
        },
        {"tools": None, **_configured(responseMimeType="application/json")},
    ),
    "generationConfig.responseJsonSchema": (
        {
            "tools": None,
            **_configured(responseMimeType="application/json", responseJsonSchema=CLOSED_SCHEMA),
        },
        {"tools": None, **_configured(responseMimeType="application/json")},
    ),
    "generationConfig.logprobs": (
        _configured(responseLogprobs=True, logprobs=3),
        _configured(responseLogprobs=True),
    ),
    **{f"generationConfig.{name}": _configured(**{name: value}) for name, value in _CONFIG_OF_MEDIA.items()},
    "modelArmorConfig": {"modelArmorConfig": {"promptTemplateName": "t"}},
}

WHOLE: tuple[str, ...] = (
    *(f"{_PART}.{name}" for name in (*_HOSTED_PARTS, *_BESIDE_A_PART)),
    *(f"{_PART}.functionResponse.parts[].{name}" for name in _BESIDE_A_RESULT),
    f"{_PART}.functionCall.partialArgs",
    *(f"tools[].{name}" for name in _HOSTED),
    *(f"generationConfig.{name}" for name in _CONFIG_OF_MEDIA),
    "modelArmorConfig",
)

FIELDS: dict[str, Any] = {
    f"{_PART}.inlineData.data": OTHER_PNG,
    f"{_PART}.inlineData.mimeType": "image/jpeg",
    f"{_PART}.fileData.fileUri": "https://example.org/b.png",
    f"{_PART}.fileData.mimeType": "image/jpeg",
    f"{_PART}.fileData.displayName": "almanac",
    f"{_PART}.functionCall.args": {"city": "Bergen"},
    f"{_PART}.functionCall.willContinue": True,
    f"{_PART}.functionResponse.response": {"output": "No"},
    f"{_PART}.functionResponse.scheduling": "SILENT",
    f"{_PART}.functionResponse.willContinue": True,
    f"{_PART}.functionResponse.parts[].inlineData.data": OTHER_PNG,
    f"{_PART}.functionResponse.parts[].inlineData.mimeType": "image/jpeg",
    f"{_PART}.functionResponse.parts[].inlineData.displayName": "almanac",
    f"{_PART}.functionResponse.parts[].fileData.fileUri": "https://example.org/b.png",
    f"{_PART}.functionResponse.parts[].fileData.mimeType": "image/jpeg",
    f"{_PART}.functionResponse.parts[].fileData.displayName": "almanac",
    "tools[].functionDeclarations[].name": "forecast",
    "tools[].functionDeclarations[].description": "Tells the weather",
    "tools[].functionDeclarations[].parametersJsonSchema": OTHER_SCHEMA,
    "tools[].functionDeclarations[].response": {"type": "STRING"},
    "tools[].functionDeclarations[].responseJsonSchema": {"type": "string"},
    "tools[].functionDeclarations[].behavior": "NON_BLOCKING",
    "toolConfig.functionCallingConfig.mode": "NONE",
    "toolConfig.functionCallingConfig.allowedFunctionNames": ["weather"],
    "toolConfig.functionCallingConfig.streamFunctionCallArguments": True,
    "toolConfig.includeServerSideToolInvocations": True,
    "toolConfig.retrievalConfig.languageCode": "nb",
    "toolConfig.retrievalConfig.latLng.latitude": 59.9,
    "toolConfig.retrievalConfig.latLng.longitude": 10.7,
    "safetySettings[].category": "HARM_CATEGORY_HARASSMENT",
    "safetySettings[].method": "PROBABILITY",
    "safetySettings[].threshold": "BLOCK_NONE",
    "generationConfig.audioTimestamp": True,
    "generationConfig.candidateCount": 2,
    "generationConfig.enableAffectiveDialog": True,
    "generationConfig.enableEnhancedCivicAnswers": True,
    "generationConfig.frequencyPenalty": 0.5,
    "generationConfig.maxOutputTokens": 4000,
    "generationConfig.mediaResolution": "MEDIA_RESOLUTION_LOW",
    "generationConfig.presencePenalty": 0.5,
    "generationConfig.responseLogprobs": True,
    "generationConfig.responseModalities": ["IMAGE"],
    "generationConfig.seed": 7,
    "generationConfig.stopSequences": ["END"],
    "generationConfig.temperature": 0.3,
    "generationConfig.thinkingConfig.includeThoughts": True,
    "generationConfig.thinkingConfig.thinkingBudget": 2000,
    "generationConfig.thinkingConfig.thinkingLevel": "LOW",
    "generationConfig.topK": 40,
    "generationConfig.topP": 0.9,
    "cachedContent": "cachedContents/a",
    "continuationToken": "dG9rZW4=",
    "labels": {"team": "weather"},
    "serviceTier": "flex",
    "store": True,
}

# No word is needed where the target does so anyway.
UNSAID: dict[str, str] = {
    f"{_PART}.functionResponse.parts[].fileData.mimeType": "who fetches the file is told its type",
    f"{_PART}.fileData.mimeType": "who fetches the file is told its type",
    f"{_PART}.thoughtSignature": "only who made it can read it",
}

# Not in the SDK's own records, and sent by clients all the same.
BEYOND: tuple[str, ...] = ()
