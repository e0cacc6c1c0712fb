import type { DescMethod } from "@bufbuild/protobuf";
import { createContextValues } from "@connectrpc/connect";
import { createAsyncIterable, type UniversalHandler } from "@connectrpc/connect/protocol";
import type { Route } from "./catalogue.js";
import type { Connections } from "./connections.js";
import {
  abandon,
  askForBody,
  bodyOf,
  cut,
  type Exchange,
  headersOf,
  type LentExchange,
  limitTimeout,
  sendUniversal,
  universalRequest,
} from "./exchange.js";
import type { GatewayLimits } from "./gateway-options.js";
import { requestMetadata } from "./metadata.js";
import { outward } from "./proxy.js";
import { type HttpRequest, refusal, send } from "./refuse.js";
import { requestKey } from "./request-context.js";
import { respondAsync, wantsAsync } from "./respond-async.js";
import { type Log, toClient } from "./to-client.js";

/** Has methods answer requests, each on the connection of who sent it. */
export class MethodCalls {
  constructor(
    private readonly connections: Connections,
    private readonly limits: GatewayLimits,
    private readonly log: Log,
  ) {}

  /** Answers a request by a method of a worker. Throws only before it is called. */
  async call(route: Route, exchange: Exchange): Promise<void> {
    const { method, headers } = exchange.request;
    await this.lend(exchange, route.desc, (its) =>
      wantsAsync(route, method, headers) ? this.submit(route, its) : this.run(route, its),
    );
  }

  /** Answers a request by a method of the gateway itself. Throws only before it is called. */
  async callOwn(handler: UniversalHandler, exchange: Exchange): Promise<void> {
    await this.lend(exchange, handler.method, (its) => this.handle(handler, its));
  }

  private async run({ short, handler }: Route, exchange: LentExchange): Promise<void> {
    const { request } = exchange;
    let read: readonly Uint8Array[] | undefined;
    if (short?.takes(request)) {
      read = await short.answer(exchange);
      if (!read) {
        return;
      }
    }
    const its = handler(request.method === "GET" ? undefined : request.headers["content-type"]);
    await this.handle(its, exchange, read && createAsyncIterable([...read]));
  }

  private async handle(
    handler: UniversalHandler,
    exchange: LentExchange,
    body?: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const { request, response, left } = exchange;
    const values = createContextValues().set(requestKey, exchange);
    const header = headersOf(request);
    limitTimeout(header);
    const universal = await handler(universalRequest(request, header, left.signal, values, body));
    await sendUniversal(universal, response, left);
  }

  /** Submits the call of a request that is not to wait for it. */
  private async submit(route: Route, exchange: LentExchange): Promise<void> {
    const { request, response, left, identity, connection } = exchange;
    try {
      const answer = await respondAsync({
        route,
        connection,
        header: headersOf(request),
        metadata: requestMetadata(request.headers, identity),
        body: bodyOf(request),
        maxBytes: this.limits.maxMessageBytes,
        signal: left.signal,
      });
      await send(request, response, answer);
    } catch (error) {
      // Nobody may know whether the call is accepted.
      throw outward(error, this.log);
    }
  }

  /**
   * Lends the connection of whoever calls, for the time that the call of a method takes. An error of
   * `use` is one of a call that may have run: its answer is sent.
   */
  private async lend(
    exchange: Exchange,
    desc: DescMethod,
    use: (exchange: LentExchange) => Promise<void>,
  ): Promise<void> {
    const { request, response, owner } = exchange;
    const stopTimer = this.limitBody(desc, request);
    try {
      await this.connections.with(owner, async (connection) => {
        askForBody(request, response);
        try {
          await use({ ...exchange, connection });
        } catch (error) {
          await this.fail(exchange, error);
        }
      });
    } finally {
      stopTimer();
    }
  }

  private async fail({ request, response, left }: Exchange, error: unknown): Promise<void> {
    const known = toClient(error, this.log);
    if (left.has || response.headersSent) {
      // The client has left, or is to see that this is not all.
      cut(response);
    } else {
      await send(request, response, refusal(request.headers["content-type"], known));
    }
  }

  /** Ends a connection whose client takes too long to send one message. */
  private limitBody({ methodKind }: DescMethod, request: HttpRequest): () => void {
    const isStream = methodKind === "client_streaming" || methodKind === "bidi_streaming";
    if (isStream || request.method === "GET") {
      return () => undefined;
    }
    const timer = setTimeout(() => abandon(request), this.limits.bodyTimeoutMs);
    return () => clearTimeout(timer);
  }
}
