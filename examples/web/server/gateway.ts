/** A gateway process, which ends with its standard input. Prints its address. */
import { bearerJwt, startGateway } from "@jetrpc/gateway";

const { WEB_SECRET: secret = "", WEB_ORIGINS: origins = "", WEB_PORT: port = "0" } = process.env;

process.stdin.on("end", () => process.exit()).resume();

const gateway = await startGateway({
  port: Number(port),
  authenticate: bearerJwt({ secret }),
  cors: { origins: origins.split(",") },
  // A document is a field of its request.
  limits: { maxMessageBytes: 64 * 1024 * 1024, bodyTimeoutMs: 300_000 },
});
console.log(gateway.url);
