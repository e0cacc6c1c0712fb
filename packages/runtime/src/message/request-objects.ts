import type { MsgHdrs } from "@nats-io/nats-core";
import { Header, wholeNumber } from "./header.js";

/** Most objects that one request has. */
export const maxObjects = 10_000;

/** The objects of one submission of a request. */
export interface RequestObjects {
  /** The beginning of their names, before the dot and their number. */
  readonly prefix: string;
  readonly count: number;
}

/** The objects that the header of a request tells of; `space` is that of its call. */
export function objectsOf(
  request: { readonly headers?: MsgHdrs | undefined },
  space: string,
): RequestObjects | undefined {
  const text = request.headers?.get(Header.objects) ?? "";
  const [, base, digits] = /^([\w-]+) (\d+)$/.exec(text) ?? [];
  const count = wholeNumber(digits);
  return count !== undefined && count <= maxObjects
    ? { prefix: `${space}.${base}`, count }
    : undefined;
}
