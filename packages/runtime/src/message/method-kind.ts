import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { MsgHdrs } from "@nats-io/nats-core";
import type { MethodBinding } from "../schema/binding.js";
import { Header, type HeaderBlock, quote } from "./header.js";

/** Tells the other side of which kind a method is that streams. */
export function addKind(headers: HeaderBlock, { methodKind }: DescMethod): HeaderBlock {
  return headers.add(Header.kind, methodKind);
}

/**
 * The error of a method that is of one kind here, and of another one in the schema of
 * whoever wrote a message; undefined when they agree, or the message does not say.
 */
export function kindConflict(
  desc: DescMethod,
  headers: MsgHdrs | undefined,
): ConnectError | undefined {
  const kind = headers?.get(Header.kind);
  return kind && kind !== desc.methodKind ? otherKind(desc, quote(kind)) : undefined;
}

/** The same where it is known what the other side has. */
export function otherKind(desc: DescMethod, kind: string): ConnectError {
  return schemasDiffer(desc, desc.methodKind, kind);
}

/** The error of a method that is delivered in one way here, and in another one there. */
export function otherDelivery({ desc, delivery }: MethodBinding, other: string): ConnectError {
  return schemasDiffer(desc, delivery, other);
}

function schemasDiffer(desc: DescMethod, here: string, there: string): ConnectError {
  const text = `${desc.toString()} is ${here} in the schema of one side, and ${there} in that of the other: generate client and worker from the same .proto, and deploy both`;
  return new ConnectError(text, Code.Unimplemented);
}
