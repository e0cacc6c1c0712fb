import {
  type DescExtension,
  type DescField,
  type DescMessage,
  getExtension,
  isMessage,
  type Message,
  toJson,
} from "@bufbuild/protobuf";
import {
  isReflectList,
  isReflectMap,
  isReflectMessage,
  type ReflectMessage,
  reflect,
} from "@bufbuild/protobuf/reflect";
import { AnySchema, anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { isOpenAt, type PlacedCall } from "../ledger/call-places.js";
import { StoredRequest } from "../ledger/stored-request.js";
import type { StoredMessage } from "../link/stored-message.js";
import { decode, decodeRequest } from "../message/codec.js";
import { encodingOf } from "../message/encoding.js";
import { methodNamed, type ServiceBinding } from "../schema/binding.js";
import { typesOf } from "../schema/type-registry.js";

/** Messages that JSON writes as one text or number, also when that is zero. */
const writtenAsOne =
  /^google\.protobuf\.(Timestamp|Duration|FieldMask|(Bool|String|Float|Double|U?Int(32|64))Value)$/;

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
    return this.isInMessage(reflect(schema, message));
  }

  private isInMessage(message: ReflectMessage): boolean {
    const registry = typesOf(this.service.desc);
    const { desc } = message;
    if (isMessage(message.message, AnySchema)) {
      const any = message.message;
      const type = registry.getMessage(any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1));
      const packed = type && anyUnpack(any, type);
      if (any.typeUrl !== "" && !packed) {
        throw new Error(`unknown type ${any.typeUrl}`);
      }
      return this.has(any.typeUrl) || (!!packed && this.isIn(type, packed));
    }
    if (writtenAsOne.test(desc.typeName)) {
      return this.has(String(toJson(desc, message.message)));
    }
    const isInField = desc.fields.some(
      (field) => message.isSet(field) && this.isInValue(field, message.get(field)),
    );
    return isInField || this.isInExtension(message.message, desc);
  }

  private isInExtension(message: Message, desc: DescMessage): boolean {
    const registry = typesOf(this.service.desc);
    const numbers = new Set(message.$unknown?.map(({ no }) => no));
    return [...numbers].some((no) => {
      const extension = registry.getExtensionFor(desc, no);
      return extension && this.isInValue(extension, getExtension(message, extension));
    });
  }

  private isInValue(field: DescField | DescExtension, value: unknown): boolean {
    if (isReflectMap(value)) {
      return [...value].some(([key, each]) => this.has(String(key)) || this.isInValue(field, each));
    }
    if (isReflectList(value) || Array.isArray(value)) {
      return [...value].some((each) => this.isInValue(field, each));
    }
    if (isReflectMessage(value)) {
      return this.isInMessage(value);
    }
    if (field.message && isMessage(value)) {
      return this.isIn(field.message, value);
    }
    if (field.enum) {
      const isNull = field.enum.typeName === "google.protobuf.NullValue";
      const name = field.enum.value[Number(value)]?.name;
      return this.has(isNull ? "null" : (name ?? String(value)));
    }
    // A person does not read bytes, and their base64 has any short text by chance.
    return !(value instanceof Uint8Array) && this.has(String(value));
  }

  private has(text: string): boolean {
    return text.toLowerCase().includes(this.text);
  }
}
