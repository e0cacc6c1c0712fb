import { readFileSync, statSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import {
  type DescMessage,
  type DescMethod,
  fromJson,
  type JsonValue,
  type Message,
  type Registry,
} from "@bufbuild/protobuf";
import type { Blob } from "@jetrpc/runtime";
import { fileBlob } from "@jetrpc/runtime/node";
import { UsageError } from "../exit-code.js";
import { host } from "../host.js";
import { oneLine } from "../output.js";
import { type Leaf, mapLeaves } from "./json-leaves.js";
import { replaceBlobs } from "./message-blobs.js";

/** Where the text of a request comes from: only who writes the command may name files in it. */
interface Text {
  readonly json: string;
  readonly mayNameFiles: boolean;
  /** `request 2`, `line 7 of stdin`. */
  readonly where: string;
}

/**
 * The requests of a call, from its arguments: JSON, `@FILE`, or `-` for stdin, which has one JSON
 * value for a method that takes one message, and one a line for the others. Without an argument it
 * is an empty message, or stdin.
 *
 * Throws UsageError for a file that cannot be read: before there is a call. What is no request of
 * the method is thrown while it is read.
 */
export function readRequests(
  { input, methodKind }: DescMethod,
  args: readonly string[],
  registry: Registry,
): AsyncIterable<Message> {
  const isStream = methodKind === "client_streaming" || methodKind === "bidi_streaming";
  if (!isStream && args.length > 1) {
    throw new UsageError("the method takes one message: give one request, in quotes");
  }
  const given = args.length > 0 ? args : [isStream ? "-" : "{}"];
  const files = new Map(
    given.filter((arg) => arg.startsWith("@")).map((arg) => [arg, readText(arg.slice(1))]),
  );
  return decodeAll(input, textsOf(given, files, isStream), registry);
}

async function* decodeAll(
  schema: DescMessage,
  texts: AsyncIterable<Text>,
  registry: Registry,
): AsyncGenerator<Message> {
  for await (const text of texts) {
    yield decodeRequest(schema, text, registry);
  }
}

async function* textsOf(
  args: readonly string[],
  files: ReadonlyMap<string, string>,
  isStream: boolean,
): AsyncGenerator<Text> {
  for (const [index, arg] of args.entries()) {
    if (arg === "-") {
      yield* textsOfStdin(isStream);
    } else if (files.has(arg)) {
      yield* textsOfFile(arg.slice(1), files.get(arg) ?? "", isStream);
    } else {
      yield { json: arg, mayNameFiles: true, where: `request ${index + 1}` };
    }
  }
}

async function* textsOfStdin(isStream: boolean): AsyncGenerator<Text> {
  if (!isStream) {
    yield { json: await textOf(host().stdin), mayNameFiles: false, where: "stdin" };
    return;
  }
  let number = 0;
  for await (const json of createInterface({ input: host().stdin })) {
    number++;
    if (json.trim() !== "") {
      yield { json, mayNameFiles: false, where: `line ${number} of stdin` };
    }
  }
}

function* textsOfFile(path: string, text: string, isStream: boolean): Generator<Text> {
  const mayNameFiles = true;
  if (!isStream || isJson(text)) {
    yield { json: text, mayNameFiles, where: path };
    return;
  }
  for (const [index, json] of text.split("\n").entries()) {
    if (json.trim() !== "") {
      yield { json, mayNameFiles, where: `${path}:${index + 1}` };
    }
  }
}

/** Reads JSON that is given as it is, as `@FILE`, or as `-` for stdin. Throws UsageError. */
export async function readJson(given: string): Promise<JsonValue> {
  const text = given.startsWith("@")
    ? readText(given.slice(1))
    : given === "-"
      ? await textOf(host().stdin)
      : given;
  try {
    return JSON.parse(text) as JsonValue;
  } catch (cause) {
    throw new UsageError(`${given} is no JSON: ${oneLine((cause as Error).message)}`);
  }
}

/** Reads a text file. Throws UsageError. */
function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new UsageError(`${path} cannot be read: ${(cause as Error).message}`);
  }
}

async function textOf(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) {
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function decodeRequest(
  schema: DescMessage,
  { json, mayNameFiles, where }: Text,
  registry: Registry,
): Message {
  const blobs: Blob[] = [];
  try {
    const value = mapLeaves(schema, JSON.parse(json) as JsonValue, (leaf) =>
      withFile(leaf, mayNameFiles, blobs),
    );
    const message = fromJson(schema, value, { registry });
    replaceBlobs(schema, message, ({ object }) => blobs[Number(object)] as Blob);
    return message;
  } catch (cause) {
    throw new UsageError(`${where} is no ${schema.typeName}: ${oneLine((cause as Error).message)}`);
  }
}

/** What stands for a file is replaced: by its bytes in base64, or by a Blob that has an index. */
function withFile({ kind, value, path }: Leaf, mayNameFiles: boolean, blobs: Blob[]): JsonValue {
  const { file, contentType, ...others } =
    kind === "blob" && typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, JsonValue>)
      : { file: value };
  const name = typeof file === "string" && file.startsWith("@") ? file.slice(1) : undefined;
  if (name === undefined && kind === "bytes") {
    return value;
  }
  if (name === undefined || Object.keys(others).length > 0) {
    throw new Error(
      `${path} is a Blob: give its file, "@film.mp4" or {"file": "@film.mp4", "contentType": "video/mp4"}`,
    );
  }
  if (!mayNameFiles) {
    throw new Error(
      `${path} names a file, and a request from stdin may not: give the request as an argument or as @FILE`,
    );
  }
  if (!isFile(name)) {
    throw new Error(`${path}: there is no file ${name}`);
  }
  if (kind === "bytes") {
    return readFileSync(name).toString("base64");
  }
  blobs.push(fileBlob(name, { ...(typeof contentType === "string" && { contentType }) }));
  return { object: `${blobs.length - 1}` };
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}
