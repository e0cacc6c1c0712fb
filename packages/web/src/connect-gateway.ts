import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import type { ClientConnection } from "@jetrpc/runtime";
import { checkTimeoutMs, connectionOf } from "@jetrpc/runtime/caller";
import { checkGatewayAddress } from "./gateway-address.js";
import { GatewayBlobs } from "./gateway-blobs.js";
import { createCaller } from "./gateway-caller.js";
import { GatewayCalls } from "./gateway-calls.js";
import { gatewayFetch, type TokenSource } from "./gateway-fetch.js";
import { Reach } from "./reach.js";
import { Waits } from "./wait.js";

/** Options of {@link connectGateway}. */
export interface GatewayConnectionOptions {
  /**
   * Shows who calls, as `Authorization: Bearer …`: the token, or a function that gives one. It
   * is called before the first request, and again when the gateway refuses the token it gave.
   * Default: none.
   */
  token?: TokenSource | undefined;
  /** Which cookies are sent: `include` for a session at another origin. Default: `same-origin`. */
  credentials?: "include" | "omit" | "same-origin" | undefined;
  /** Sends the requests. Default: the global `fetch`. */
  fetch?: typeof globalThis.fetch | undefined;
  /** Run around every call of a client, and around `submit()`. Default: none. */
  interceptors?: Interceptor[] | undefined;
  /**
   * How long direct calls may take whose caller gives no `timeoutMs`, in ms; 0 for no limit.
   * Default: what the option `timeout` of the method says.
   */
  defaultTimeoutMs?: number | undefined;
}

/**
 * Makes a connection to a gateway: generated clients work on it as on one to NATS. Nothing is
 * sent before the first call. `url` is the address of the gateway, `https://api.example.com`; a
 * page of the gateway's own origin may give a path, or nothing.
 *
 * Throws InvalidArgument for what is no address, and for impossible options.
 */
export function connectGateway(
  url = "/",
  { interceptors = [], defaultTimeoutMs, ...http }: GatewayConnectionOptions = {},
): ClientConnection {
  checkGatewayAddress(url);
  checkTimeoutMs(defaultTimeoutMs, "defaultTimeoutMs");
  const waits = new Waits();
  let resolveClosed: (value: undefined) => void = () => undefined;
  const closed = new Promise<undefined>((resolve) => {
    resolveClosed = resolve;
  });
  const reach = new Reach(url);
  const fetch = gatewayFetch(http, reach);
  const transport = createConnectTransport({ baseUrl: url, useBinaryFormat: true, fetch });
  const calls = new GatewayCalls(transport, waits, new GatewayBlobs(url, fetch, waits), reach);
  const caller = createCaller({ http: transport, calls, waits, interceptors, defaultTimeoutMs });
  return connectionOf(caller, {
    closed,
    async close() {
      waits.close(new ConnectError("the connection is closed", Code.Unavailable));
      resolveClosed(undefined);
    },
  });
}
