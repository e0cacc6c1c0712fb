import {
  type DescMessage,
  type JsonValue,
  type Message,
  ScalarType,
  toJson,
} from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { isOpenAt, type PlacedCall } from "../ledger/call-places.js";
import { StoredRequest } from "../ledger/stored-request.js";
import type { StoredMessage } from "../link/stored-message.js";
import { decode, decodeRequest } from "../message/codec.js";
import { encodingOf } from "../message/encoding.js";
import { methodNamed, type ServiceBinding } from "../schema/binding.js";
import { typesOf } from "../schema/type-registry.js";

/** Looks for a text in calls, as a person reads them; capitals make no difference. */
export class TextSearch {
  /** Requests and results that it could not look into. */
  unread = 0;
  private readonly text: string;

  constructor(
    private readonly service: ServiceBinding,
    text: string,
  ) {
    this.text = text.toLowerCase();
  }

  /** True when a call has the text in its id, its error, or what the stored message holds. */
  fits({ place, method, call, state, error }: PlacedCall, message: StoredMessage): boolean {
    if (this.has(call.callId) || this.has(error?.rawMessage ?? "")) {
      return true;
    }
    const desc = methodNamed(this.service, method)?.desc;
    const stored = StoredRequest.of(message);
    const isRequest = (isOpenAt(place) && !stored.withdrawn) || place === "dead";
    // Of a stream the end has no message.
    if (!isRequest && (state !== "succeeded" || desc?.methodKind !== "unary")) {
      return false;
    }
    if (!desc || stored.isObject) {
      this.unread++;
      return false;
    }
    try {
      return isRequest
        ? this.isIn(desc.input, decodeRequest(desc, stored.data, encodingOf(stored.contentType)))
        : this.isIn(desc.output, decode(desc.output, stored.data, Code.DataLoss));
    } catch {
      this.unread++;
      return false;
    }
  }

  private isIn(schema: DescMessage, message: Message): boolean {
    const json = toJson(schema, message, { registry: typesOf(this.service.desc) });
    return this.isInJson(json, schema);
  }

  private isInJson(json: JsonValue, schema: DescMessage | undefined): boolean {
    if (Array.isArray(json)) {
      return json.some((each) => this.isInJson(each, schema));
    }
    if (typeof json !== "object" || json === null) {
      return this.has(String(json));
    }
    return Object.entries(json).some(([name, value]) => {
      const field = schema?.fields.find(({ jsonName }) => jsonName === name);
      if (field?.fieldKind === "map") {
        const entries = Object.entries(value ?? {});
        return entries.some(([key, each]) => this.has(key) || this.isInJson(each, field.message));
      }
      // Their base64 has any short text by chance.
      return field?.scalar !== ScalarType.BYTES && this.isInJson(value, field?.message);
    });
  }

  private has(text: string): boolean {
    return text.toLowerCase().includes(this.text);
  }
}
