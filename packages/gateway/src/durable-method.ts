import type { DescMessage, DescMethod, DescService, Message } from "@bufbuild/protobuf";
import {
  type Call,
  type Connection,
  createClient,
  type MessagesOptions,
  type SubmitOptions,
  type UnaryCall,
} from "@jetrpc/runtime";
import { useUploads } from "./use-uploads.js";

/** A durable call, whose messages are of any type. */
export type AnyCall = Call & {
  /** Of a unary method only. */
  readonly result?: UnaryCall<DescMessage>["result"];
  /** Of a method with a streamed response only. */
  readonly messages?: (options?: MessagesOptions) => AsyncIterable<Message>;
};

/** Submits calls of a durable method, and comes back to them. */
interface DurableMethod {
  submit(request: Message, options?: SubmitOptions): Promise<AnyCall>;
  attach(callId: string): AnyCall;
}

type Client = Record<string, DurableMethod>;

const clients = new WeakMap<Connection, WeakMap<DescService, Client>>();

/** A durable method on a connection. */
export function durableMethod(connection: Connection, desc: DescMethod): DurableMethod {
  let ofConnection = clients.get(connection);
  if (!ofConnection) {
    ofConnection = new WeakMap();
    clients.set(connection, ofConnection);
  }
  let client = ofConnection.get(desc.parent);
  if (!client) {
    client = createClient<Client>(desc.parent, connection);
    ofConnection.set(desc.parent, client);
  }
  return client[desc.localName] as DurableMethod;
}

/** Submits a call, whose Blobs were uploaded. Errors: those of `submit()` and {@link useUploads}. */
export function submitCall(
  connection: Connection,
  desc: DescMethod,
  request: Message,
  options: SubmitOptions,
): Promise<AnyCall> {
  useUploads(connection, desc, options.callId, request);
  return durableMethod(connection, desc).submit(request, options);
}

/** All messages of a call; of a unary one its result. Errors: those that the call ended with. */
export async function* messagesOf(
  call: AnyCall,
  options: MessagesOptions = {},
): AsyncGenerator<Message> {
  if (call.messages) {
    yield* call.messages(options);
  } else if (call.result) {
    const { from, ...wait } = options;
    const result = await call.result(wait);
    if (!from) {
      yield result;
    }
  }
}
