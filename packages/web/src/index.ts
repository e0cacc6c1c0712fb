/**
 * Generated clients over a gateway, in browsers and wherever fetch is.
 *
 * @module
 */
export { connectGateway, type GatewayConnectionOptions } from "./connect-gateway.js";
export type { TokenSource } from "./gateway-fetch.js";
