import {
  type DescMessage,
  type JsonObject,
  type Message,
  type Registry,
  toJson,
} from "@bufbuild/protobuf";
import { base64Encode } from "@bufbuild/protobuf/wire";
import { ConnectError } from "@connectrpc/connect";
import { codeName } from "../schema/code-name.js";

/** Times in ISO 8601, those that are known. */
export function timesJson(times: Record<string, Date | undefined>): JsonObject {
  const known = Object.entries(times).filter(([, time]) => time !== undefined);
  return Object.fromEntries(known.map(([name, time]) => [name, (time as Date).toISOString()]));
}

/** An error as the JSON of the operator has it. */
export function errorJson({ code, rawMessage }: ConnectError): JsonObject {
  return { code: codeName(code), message: rawMessage };
}

/** A message in JSON; one that cannot be decoded in base64, with the reason. */
export async function readJson(
  name: string,
  schema: DescMessage,
  registry: Registry,
  bytes: () => Promise<Uint8Array>,
  message: () => Promise<Message>,
): Promise<JsonObject> {
  try {
    return { [name]: toJson(schema, await message(), { registry }) };
  } catch (error) {
    const raw = await bytes().catch(() => new Uint8Array(0));
    return {
      [`${name}Base64`]: base64Encode(raw),
      [`${name}Error`]: ConnectError.from(error).rawMessage,
    };
  }
}
