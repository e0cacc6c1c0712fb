import type { ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import type { Link } from "./link.js";
import { PendingReply, type Request } from "./pending-reply.js";

/**
 * Sends a request and waits for one reply.
 *
 * The reply may be a status of the server: see {@link isNoResponders}.
 * Errors: Unavailable when the connection is or gets lost, DeadlineExceeded,
 * Canceled, PermissionDenied, ResourceExhausted when it is too large.
 */
export function sendRequest(link: Link, request: Request): Promise<Msg> {
  return new Promise((resolve, reject) => {
    new PromisedReply(link, request, resolve, reject).send();
  });
}

class PromisedReply extends PendingReply {
  constructor(
    link: Link,
    request: Request,
    private readonly resolve: (message: Msg) => void,
    private readonly reject: (error: ConnectError) => void,
  ) {
    super(link, request);
  }

  protected replied(message: Msg): void {
    this.resolve(message);
  }

  protected failed(error: ConnectError): void {
    this.reject(error);
  }
}
