// The official Node SDKs through a running gateway with simulated providers:
//
//     CLIENTS=DIR node tests/clients/sdk.mjs BASE_URL [PROVIDER...]
//
// DIR is where install.sh put them. What each SDK makes of an answer is brought to one form, so that
// the same is expected of all of them through every provider: text, calls, how it ended, and usage,
// asked for whole and streamed.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { describe, test } from 'node:test';

const MODELS = {
  openai: 'gpt-4o-mini',
  glm: 'glm-4.7',
  antigravity: 'gemini-3-flash',
  anthropic: 'claude-haiku-4-5',
  gemini: 'gemini-2.5-flash',
};

const [url, ...chosen] = process.argv.slice(2);
const require = createRequire(`${resolve(process.env.CLIENTS)}/`);
const OpenAI = require('openai');
const Anthropic = require('@anthropic-ai/sdk');
const { ApiError, GoogleGenAI } = require('@google/genai');

const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'unused', maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey: 'unused', maxRetries: 0 });
const google = new GoogleGenAI({ apiKey: 'unused', httpOptions: { baseUrl: url } });
const googleBeta = new GoogleGenAI({ apiKey: 'unused', apiVersion: 'v1beta', httpOptions: { baseUrl: url } });

const COUNT = 'Count to 5';
const COUNTED = '1, 2, 3, 4, 5';
const ARGUMENTS = { city: 'Oslo', days: 2 };
const USE = `use the tool weather with ${JSON.stringify(ARGUMENTS)}`;
const RESULT = 'Rain, 12 degrees';
const SCHEMA = {
  type: 'object',
  properties: { city: { type: 'string' }, days: { type: 'integer' } },
  required: ['city', 'days'],
};

// Each SDK: `ask` a question (with the tool, if `tools`), then `tell` it the result of the call. Both
// give {text, calls: [{name, arguments}], ended: 'done' or 'call', usage: [input, output], raw}.
const SDKS = {
  'openai, chat completions': {
    NotFound: OpenAI.NotFoundError,
    Malformed: OpenAI.BadRequestError,
    malformed: { messages: 'none' },
    read(raw) {
      const [{ message, finish_reason }] = raw.choices;
      const calls = (message.tool_calls ?? []).map((call) => ({
        name: call.function.name,
        arguments: JSON.parse(call.function.arguments),
      }));
      const ended = { stop: 'done', tool_calls: 'call' }[finish_reason];
      const usage = [raw.usage.prompt_tokens, raw.usage.completion_tokens];
      assert.equal(raw.usage.total_tokens, usage[0] + usage[1]);
      return { text: message.content ?? '', calls, ended, usage, raw };
    },
    async send(body, streamed) {
      if (!streamed) return this.read(await openai.chat.completions.create(body));
      const stream = openai.chat.completions.stream({ ...body, stream_options: { include_usage: true } });
      return this.read(await stream.finalChatCompletion());
    },
    ask(model, prompt, { streamed, tools, ...more }) {
      const declared = { type: 'function', function: { name: 'weather', parameters: SCHEMA } };
      const messages = [{ role: 'user', content: prompt }];
      return this.send({ model, messages, ...(tools && { tools: [declared] }), ...more }, streamed);
    },
    tell(model, { raw }, { streamed }) {
      const message = raw.choices[0].message;
      const result = { role: 'tool', tool_call_id: message.tool_calls[0].id, content: RESULT };
      const { role, content, tool_calls } = message;
      const messages = [{ role: 'user', content: USE }, { role, content, tool_calls }, result];
      return this.send({ model, messages }, streamed);
    },
  },

  'openai, responses': {
    NotFound: OpenAI.NotFoundError,
    Malformed: OpenAI.BadRequestError,
    malformed: { input: 7 },
    read(raw) {
      const calls = raw.output
        .filter((item) => item.type === 'function_call')
        .map((item) => ({ name: item.name, arguments: JSON.parse(item.arguments) }));
      assert.equal(raw.status, 'completed');
      const usage = [raw.usage.input_tokens, raw.usage.output_tokens];
      assert.equal(raw.usage.total_tokens, usage[0] + usage[1]);
      return { text: raw.output_text, calls, ended: calls.length ? 'call' : 'done', usage, raw };
    },
    async send(body, streamed) {
      if (!streamed) return this.read(await openai.responses.create(body));
      return this.read(await openai.responses.stream(body).finalResponse());
    },
    ask(model, prompt, { streamed, tools, ...more }) {
      const declared = { type: 'function', name: 'weather', parameters: SCHEMA, strict: false };
      const input = [{ role: 'user', content: prompt }];
      return this.send({ model, input, store: false, ...(tools && { tools: [declared] }), ...more }, streamed);
    },
    tell(model, { raw }, { streamed }) {
      const call = raw.output.find((item) => item.type === 'function_call');
      const result = { type: 'function_call_output', call_id: call.call_id, output: RESULT };
      const said = raw.output.map(({ parsed_arguments, ...item }) => item);
      const input = [{ role: 'user', content: USE }, ...said, result];
      return this.send({ model, input, store: false }, streamed);
    },
  },

  '@anthropic-ai/sdk': {
    NotFound: Anthropic.NotFoundError,
    Malformed: Anthropic.BadRequestError,
    malformed: { messages: 'none' },
    read(raw) {
      const blocks = (type) => raw.content.filter((block) => block.type === type);
      const calls = blocks('tool_use').map((block) => ({ name: block.name, arguments: block.input }));
      const text = blocks('text').map((block) => block.text).join('');
      const ended = { end_turn: 'done', tool_use: 'call' }[raw.stop_reason];
      return { text, calls, ended, usage: [raw.usage.input_tokens, raw.usage.output_tokens], raw };
    },
    async send(body, streamed) {
      if (!streamed) return this.read(await anthropic.messages.create(body));
      return this.read(await anthropic.messages.stream(body).finalMessage());
    },
    ask(model, prompt, { streamed, tools, ...more }) {
      const declared = { name: 'weather', input_schema: SCHEMA };
      const messages = [{ role: 'user', content: prompt }];
      const body = { model, messages, max_tokens: 1000, ...(tools && { tools: [declared] }), ...more };
      return this.send(body, streamed);
    },
    tell(model, { raw }, { streamed }) {
      const call = raw.content.find((block) => block.type === 'tool_use');
      const result = { type: 'tool_result', tool_use_id: call.id, content: RESULT };
      const messages = [
        { role: 'user', content: USE },
        { role: 'assistant', content: raw.content },
        { role: 'user', content: [result] },
      ];
      const tools = [{ name: 'weather', input_schema: SCHEMA }];
      return this.send({ model, messages, tools, max_tokens: 1000 }, streamed);
    },
  },

  '@google/genai': {
    client: google,
    NotFound: ApiError,
    Malformed: ApiError,
    malformed: { config: { temperature: 'hot' } },
    read(chunks) {
      const parts = chunks.flatMap((chunk) => chunk.candidates?.[0]?.content?.parts ?? []);
      const calls = parts
        .filter((part) => part.functionCall)
        .map(({ functionCall }) => ({ name: functionCall.name, arguments: functionCall.args }));
      const text = parts.map((part) => (part.thought ? '' : (part.text ?? ''))).join('');
      const last = chunks.at(-1);
      assert.equal(last.candidates[0].finishReason, 'STOP');
      const counts = last.usageMetadata;
      const output = counts.candidatesTokenCount + (counts.thoughtsTokenCount ?? 0);
      assert.equal(counts.totalTokenCount, counts.promptTokenCount + output);
      const ended = calls.length ? 'call' : 'done';
      return { text, calls, ended, usage: [counts.promptTokenCount, output], raw: parts };
    },
    async send(body, streamed) {
      if (!streamed) return this.read([await this.client.models.generateContent(body)]);
      const chunks = [];
      for await (const chunk of await this.client.models.generateContentStream(body)) chunks.push(chunk);
      return this.read(chunks);
    },
    ask(model, prompt, { streamed, tools, ...more }) {
      const declared = { name: 'weather', parametersJsonSchema: SCHEMA };
      const config = tools ? { tools: [{ functionDeclarations: [declared] }] } : {};
      return this.send({ model, contents: prompt, config, ...more }, streamed);
    },
    tell(model, { raw }, { streamed }) {
      const { id, name } = raw.find((part) => part.functionCall).functionCall;
      const contents = [
        { role: 'user', parts: [{ text: USE }] },
        { role: 'model', parts: raw },
        { role: 'user', parts: [{ functionResponse: { id, name, response: { output: RESULT } } }] },
      ];
      return this.send({ model, contents }, streamed);
    },
  },
};
SDKS['@google/genai, v1beta'] = { ...SDKS['@google/genai'], client: googleBeta };

describe('the SDKs', { concurrency: true }, () => {
  for (const [name, sdk] of Object.entries(SDKS)) {
    for (const [provider, model] of Object.entries(MODELS)) {
      if (chosen.length && !chosen.includes(provider)) continue;
      describe(`${name} through ${provider}`, { concurrency: true }, () => {
        test('a streamed answer adds up to the whole one', async () => {
          const whole = await sdk.ask(model, COUNT, { streamed: false });
          const streamed = await sdk.ask(model, COUNT, { streamed: true });
          for (const { text, calls, ended, usage } of [whole, streamed]) {
            assert.deepEqual({ text, calls, ended }, { text: COUNTED, calls: [], ended: 'done' });
            assert.ok(usage[0] > 0 && usage[1] > 0, `usage: ${usage}`);
          }
          assert.deepEqual(streamed.usage, whole.usage);
        });

        for (const streamed of [false, true]) {
          test(`a tool is called and its result taken, ${streamed ? 'streamed' : 'whole'}`, async () => {
            const called = await sdk.ask(model, USE, { streamed, tools: true });
            assert.deepEqual(called.calls, [{ name: 'weather', arguments: ARGUMENTS }]);
            assert.equal(called.ended, 'call');
            const told = await sdk.tell(model, called, { streamed });
            assert.ok(told.text.includes(RESULT), told.text);
            assert.equal(told.ended, 'done');
          });
        }
      });
    }

    describe(`${name}, errors`, () => {
      for (const streamed of [false, true]) {
        const how = streamed ? 'streamed' : 'whole';
        test(`an unknown model is not found, ${how}`, async () => {
          await assert.rejects(sdk.ask('no-such-model', COUNT, { streamed }), (error) => {
            assert.ok(error instanceof sdk.NotFound, `${error.constructor.name}: ${error.message}`);
            assert.equal(error.status, 404);
            assert.match(error.message, /no target serves model .*no-such-model/);
            return true;
          });
        });

        test(`a malformed request is refused, ${how}`, async () => {
          const asked = sdk.ask('glm-4.7', COUNT, { streamed, ...sdk.malformed });
          await assert.rejects(asked, (error) => {
            assert.ok(error instanceof sdk.Malformed, `${error.constructor.name}: ${error.message}`);
            assert.equal(error.status, 400);
            return true;
          });
        });
      }
    });
  }

  describe('beside the conversation', () => {
    test('models are listed in the form of each SDK', async () => {
      for (const client of [openai, anthropic]) {
        const ids = [];
        for await (const model of client.models.list()) ids.push(model.id);
        for (const model of Object.values(MODELS)) assert.ok(ids.includes(model), `${model}: ${ids}`);
      }
      const names = [];
      for await (const model of await google.models.list()) names.push(model.name);
      for (const model of Object.values(MODELS)) assert.ok(names.includes(`models/${model}`), names.join());
    });

    test('tokens are counted, whoever would answer', async () => {
      for (const model of Object.values(MODELS)) {
        const messages = [{ role: 'user', content: COUNT }];
        const { input_tokens } = await anthropic.messages.countTokens({ model, messages });
        const { totalTokens } = await google.models.countTokens({ model, contents: COUNT });
        assert.ok(input_tokens > 0 && totalTokens > 0, `${model}: ${input_tokens}, ${totalTokens}`);
      }
    });
  });
});
