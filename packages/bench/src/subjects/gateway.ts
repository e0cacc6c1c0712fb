import { connect } from "@nats-io/transport-node";
import { Child } from "../child.js";
import { hopSubject } from "../hop-subject.js";
import type { Served } from "../subject.js";
import type { Http } from "./connect-node.js";
import { start } from "./jetrpc.js";

/** Serves by a jetrpc worker in this process, and a gateway in another, both beside NATS. */
async function serve(natsUrls: string[]): Promise<Served> {
  await start(natsUrls);
  const gateway = new Child("gateway", "gateway-process.js", natsUrls);
  return { address: String(await gateway.next()), furtherPids: [gateway.pid] };
}

/** Serves by a NATS worker that sends back what it gets, and the least that may be called a gateway. */
async function serveByHop(natsUrls: string[]): Promise<Served> {
  const worker = await connect({ servers: natsUrls });
  worker.subscribe(hopSubject, {
    callback: (_error, message) => void message.respond(message.data),
  });
  await worker.flush();
  const hop = new Child("hop", "hop-process.js", natsUrls);
  return { address: String(await hop.next()), furtherPids: [hop.pid] };
}

/** A server of HTTP/1.1 that answers with what one `nc.request()` brings, and knows nothing of it. */
export const byHop = ({ transport }: Http): Http => ({ serve: serveByHop, transport });

/** The same calls through a gateway. */
export const throughGateway = ({ transport }: Http): Http => ({ serve, transport });
