// Agents on real clients in JavaScript, run as `node driver.mjs CLIENT JOB...`. Jobs and output are those of driver.py.
// WEIR_CLIENTS is the folder that has node_modules.
import { createRequire } from "node:module";

const require = createRequire(`${process.env.WEIR_CLIENTS}/package.json`);
const PROMPT = "Work until all is done.";
const SYSTEM = "You are a careful agent.";
const BUDGET = 2000; // tokens of thought

let calls = [];

// Like Python's json.dumps(value, sort_keys=True, ensure_ascii=True).
function dumps(value) {
  if (Array.isArray(value)) return `[${value.map(dumps).join(", ")}]`;
  if (value !== null && typeof value === "object") {
    return `{${Object.keys(value).sort().map((key) => `${dumps(key)}: ${dumps(value[key])}`).join(", ")}}`;
  }
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, (it) => "\\u" + it.charCodeAt(0).toString(16).padStart(4, "0"));
}

function carriedOut(name, args) {
  calls.push([name, args]);
  return `result of ${name} ${dumps(args)}`;
}

function check(condition, words) {
  if (!condition) throw new Error(words);
}

async function openai(job) {
  const OpenAI = require("openai").default;
  const client = new OpenAI({ baseURL: `${job.url}/v1`, apiKey: job.key });
  const messages = [{ role: "system", content: SYSTEM }, { role: "user", content: PROMPT }];
  const asked = { model: job.model, messages, tools: job.tools.map((it) => ({ type: "function", function: it })) };
  if (job.thinking) asked.reasoning_effort = "high";
  for (;;) {
    const answer = job.streamed
      ? await client.chat.completions.stream({ ...asked, stream_options: { include_usage: true } }).finalChatCompletion()
      : await client.chat.completions.create(asked);
    check(answer.usage.completion_tokens > 0, "no usage");
    const { parsed, ...message } = answer.choices[0].message;
    messages.push(message);
    if (!message.tool_calls?.length) return message.content;
    for (const call of message.tool_calls) {
      delete call.function.parsed_arguments;
      const content = carriedOut(call.function.name, JSON.parse(call.function.arguments));
      messages.push({ role: "tool", tool_call_id: call.id, content });
    }
  }
}

async function openaiResponses(job) {
  const OpenAI = require("openai").default;
  const client = new OpenAI({ baseURL: `${job.url}/v1`, apiKey: job.key });
  const input = [{ role: "user", content: PROMPT }];
  const tools = job.tools.map((it) => ({ type: "function", strict: false, ...it }));
  const asked = { model: job.model, instructions: SYSTEM, input, tools, store: false };
  if (job.thinking) Object.assign(asked, { reasoning: { effort: "high" }, include: ["reasoning.encrypted_content"] });
  for (;;) {
    const done = [];
    let answer;
    if (job.streamed) {
      for await (const event of await client.responses.create({ ...asked, stream: true })) {
        if (event.type === "response.output_item.done") done.push(event.item);
        if (event.type === "response.completed") answer = event.response;
      }
    } else {
      answer = await client.responses.create(asked);
      done.push(...answer.output);
    }
    check(answer.usage.output_tokens > 0, "no usage");
    input.push(...done);
    const uses = done.filter((it) => it.type === "function_call");
    if (!uses.length) return done.filter((it) => it.type === "message").flatMap((it) => it.content).map((it) => it.text).join("");
    for (const call of uses) {
      const output = carriedOut(call.name, JSON.parse(call.arguments));
      input.push({ type: "function_call_output", call_id: call.call_id, output });
    }
  }
}

async function anthropic(job) {
  const Anthropic = require("@anthropic-ai/sdk").default;
  const client = new Anthropic({ baseURL: job.url, apiKey: job.key });
  const messages = [{ role: "user", content: PROMPT }];
  const tools = job.tools.map((it) => ({ name: it.name, description: it.description, input_schema: it.parameters }));
  const asked = { model: job.model, max_tokens: 4000, system: SYSTEM, messages, tools };
  if (job.thinking) asked.thinking = { type: "enabled", budget_tokens: BUDGET };
  for (;;) {
    const answer = job.streamed ? await client.messages.stream(asked).finalMessage() : await client.messages.create(asked);
    check(answer.usage.output_tokens > 0, "no usage");
    messages.push({ role: "assistant", content: answer.content });
    const uses = answer.content.filter((it) => it.type === "tool_use");
    if (!uses.length) return answer.content.filter((it) => it.type === "text").map((it) => it.text).join("");
    const content = uses.map((it) => ({ type: "tool_result", tool_use_id: it.id, content: carriedOut(it.name, it.input) }));
    messages.push({ role: "user", content });
  }
}

async function aiSdk(job, model, providerOptions) {
  const { generateText, streamText, stepCountIs, tool, jsonSchema } = require("ai");
  const tools = Object.fromEntries(job.tools.map((it) => [it.name, tool({
    description: it.description,
    inputSchema: jsonSchema(it.parameters),
    execute: (args) => carriedOut(it.name, args),
  })]));
  const asked = { model, tools, system: SYSTEM, prompt: PROMPT, stopWhen: stepCountIs(job.turns + 5), providerOptions, maxOutputTokens: 4000 };
  if (!job.streamed) {
    const answer = await generateText(asked);
    check(answer.usage.outputTokens > 0, "no usage");
    return answer.text;
  }
  const answer = streamText({ ...asked, onError: () => {} });
  for await (const part of answer.fullStream) if (part.type === "error") throw part.error;
  check((await answer.usage).outputTokens > 0, "no usage");
  return await answer.text;
}

const CLIENTS = {
  "openai-node": openai,
  "openai-responses-node": openaiResponses,
  "anthropic-node": anthropic,
  "ai-sdk-responses": (job) => {
    const { createOpenAI } = require("@ai-sdk/openai");
    const options = { store: false, ...(job.thinking ? { reasoningEffort: "high", forceReasoning: true } : {}) };
    return aiSdk(job, createOpenAI({ baseURL: `${job.url}/v1`, apiKey: job.key }).responses(job.model), { openai: options });
  },
  "ai-sdk-stored": (job) => {
    const { createOpenAI } = require("@ai-sdk/openai");
    return aiSdk(job, createOpenAI({ baseURL: `${job.url}/v1`, apiKey: job.key })(job.model),
      job.thinking ? { openai: { reasoningEffort: "high", forceReasoning: true } } : {});
  },
  "ai-sdk-openai": (job) => {
    const { createOpenAI } = require("@ai-sdk/openai");
    const options = job.thinking ? { openai: { reasoningEffort: "high", forceReasoning: true } } : {};
    return aiSdk(job, createOpenAI({ baseURL: `${job.url}/v1`, apiKey: job.key }).chat(job.model), options);
  },
  "ai-sdk-openai-compatible": (job) => {
    const { createOpenAICompatible } = require("@ai-sdk/openai-compatible");
    const provider = createOpenAICompatible({ name: "weir", baseURL: `${job.url}/v1`, apiKey: job.key, includeUsage: true });
    return aiSdk(job, provider(job.model), job.thinking ? { weir: { reasoningEffort: "high" } } : {});
  },
  "ai-sdk-anthropic": (job) => {
    const { createAnthropic } = require("@ai-sdk/anthropic");
    const options = job.thinking ? { anthropic: { thinking: { type: "enabled", budgetTokens: BUDGET } } } : {};
    return aiSdk(job, createAnthropic({ baseURL: `${job.url}/v1`, apiKey: job.key })(job.model), options);
  },
};

const [client, ...jobs] = process.argv.slice(2);
for (const text of jobs) {
  calls = [];
  let outcome;
  try {
    outcome = { text: await CLIENTS[client](JSON.parse(text)), error: null };
  } catch (error) {
    const more = error.responseBody ?? "";
    outcome = { text: null, error: `${error}${more}`.slice(0, 2000) };
  }
  console.log(JSON.stringify({ calls, ...outcome }));
}
