import { type DescMessage, type MessageInitShape, type Registry, toJson } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@jetrpc/runtime";
import { type CallStory, openStates } from "@jetrpc/runtime/operator";
import { holdsBlobs, type MethodBinding } from "@jetrpc/runtime/schema";
import { stateOf } from "./call-filter.js";
import { callError } from "./call-summary.js";
import {
  Ability,
  type AttemptSchema,
  type CallStorySchema,
  type FileOfSchema,
  type PayloadSchema,
} from "./gen/jetrpc/console/v1/console_service_pb.js";
import { hidden, maskJson } from "./mask.js";
import { timesOf } from "./times.js";

/** Most characters of a payload in JSON. */
const maxJson = 1024 * 1024;

type Payload = MessageInitShape<typeof PayloadSchema>;

/** How the story of a call is shown. */
export interface ShowOptions {
  readonly registry: Registry;
  /** Hides values of requests and responses. */
  readonly masked: boolean;
}

/** A story as the contract has it, without the messages of the response. */
export async function showStory(
  binding: MethodBinding,
  story: CallStory,
  { registry, masked }: ShowOptions,
): Promise<MessageInitShape<typeof CallStorySchema>> {
  const { desc } = binding;
  const { method, owner, callId, state, attempts, progress, error, workers, deadLetter } = story;
  const { acceptedAt, endedAt, startsAt, deadline } = story;
  const cause = await deadLetter?.cause();
  const headers = [...(story.requestHeader ?? [])];
  return {
    name: { service: desc.parent.typeName, method, owner, callId },
    state: stateOf(state),
    ...timesOf({ acceptedAt, endedAt, startsAt, deadline }),
    attempts: attempts.map(showAttempt),
    ...(progress && { progress: showProgress(progress) }),
    ...(error && { error: callError(error) }),
    ...(cause !== undefined && { cause: masked ? hidden : cause }),
    metadata: headers.map(([name, value]) => ({ name, value: masked ? hidden : value })),
    ...(story.hasRequest && {
      request: await payloadOf(desc.input, () => story.request(), { registry, masked }),
    }),
    messages: story.messages,
    ...(workers !== undefined && { workers }),
    files: await filesOf(binding, story, masked),
    can: [
      ...(openStates.includes(state) ? [Ability.CANCEL] : []),
      ...(deadLetter ? [Ability.REPLAY, Ability.DISCARD] : []),
    ],
  };
}

/** Messages of the response from one on, in their order. */
export async function showMessages(
  { desc }: MethodBinding,
  story: CallStory,
  { from, limit }: { from: number; limit: number },
  options: ShowOptions,
): Promise<Payload[]> {
  const payloads: Payload[] = [];
  const count = Math.min(limit, story.messages - from);
  while (payloads.length < count) {
    const start = from + payloads.length;
    try {
      const range = { from: start, limit: count - payloads.length };
      for await (const message of story.responses(range)) {
        payloads.push(await payloadOf(desc.output, async () => message, options));
      }
      if (start === from + payloads.length) {
        break;
      }
    } catch (cause) {
      // One that cannot be decoded is not to hide those after it.
      const error = ConnectError.from(cause);
      if (error.code === Code.DataLoss) {
        payloads.push({ problem: problemOf(error, options.masked) });
      } else {
        throw cause;
      }
    }
  }
  return payloads;
}

function showAttempt(
  attempt: CallStory["attempts"][number],
): MessageInitShape<typeof AttemptSchema> {
  const { worker = "", startedAt, endedAt, retryAt, error } = attempt;
  return {
    attempt: attempt.attempt,
    worker,
    ...timesOf({ startedAt, endedAt, retryAt }),
    ...(error && { error: callError(error) }),
  };
}

async function payloadOf(
  schema: DescMessage,
  read: () => Promise<Parameters<typeof toJson>[1]>,
  { registry, masked }: ShowOptions,
): Promise<Payload> {
  try {
    const json = toJson(schema, await read(), { registry });
    const text = JSON.stringify(masked ? maskJson(schema, json) : json, undefined, 2);
    return text.length > maxJson
      ? {
          problem: `it has ${text.length} characters: more than are shown. See \`jetrpc calls show\``,
        }
      : { json: text };
  } catch (cause) {
    return { problem: problemOf(cause, masked) };
  }
}

/** An error of a decoder may quote what it could not read. */
function problemOf(cause: unknown, masked: boolean): string {
  return masked ? "it cannot be decoded" : ConnectError.from(cause).rawMessage;
}

async function filesOf(
  { desc }: MethodBinding,
  story: CallStory,
  masked: boolean,
): Promise<MessageInitShape<typeof FileOfSchema>[]> {
  if (!holdsBlobs(desc.input) && !holdsBlobs(desc.output)) {
    return [];
  }
  const { method, owner, callId } = story;
  const path = ["files", desc.parent.typeName, method, owner, callId].map(encodeURIComponent);
  // Those of what cannot be decoded are not known.
  const blobs = await story.blobs().catch(() => []);
  return blobs.map(({ of, message = 0, fileName, contentType, size }, i) => ({
    ofResponse: of === "response",
    message,
    fileName: masked ? hidden : fileName,
    contentType,
    size: BigInt(size),
    path: masked ? "" : `/${path.join("/")}/${i}`,
  }));
}

function showProgress({ done, total, message }: NonNullable<CallStory["progress"]>) {
  return { done, total, message };
}
