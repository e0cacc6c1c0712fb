/**
 * An HTTP server in front of NATS: Connect, gRPC, gRPC-Web and JSON for jetrpc services.
 *
 * @module
 */
export { type ApiToken, apiTokens, createApiToken, hashApiToken } from "./api-tokens.js";
export { type BearerJwtOptions, bearerJwt } from "./bearer-jwt.js";
export type { CallLimits } from "./call-limiter.js";
export {
  type CookieSession,
  type CookieSessionOptions,
  cookieSession,
  type Session,
} from "./cookie-session.js";
export { type Gateway, startGateway } from "./gateway.js";
export type { GatewayLimits, GatewayOptions } from "./gateway-options.js";
export { CallService } from "./gen/jetrpc/v1/call_service_pb.js";
export type { ListenerLimits } from "./http-listener.js";
export type { Authenticate, Identity, RequestInfo } from "./identity.js";
export { isLoopback, isLoopbackHost } from "./loopback.js";
export { type DescribedService, type OpenApiOptions, openApiDocument } from "./openapi.js";
export type { CorsOptions } from "./origins.js";
export { ownerOf } from "./owner.js";
export { checkSameOrigin } from "./same-origin.js";
export type { TlsOptions } from "./tls-files.js";
