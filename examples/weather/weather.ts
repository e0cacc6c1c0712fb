/**
 * Direct calls of every kind, interceptors, retries, discovery, and a call without
 * a .proto. Run by `npm run example:weather`; it starts a nats-server of its own.
 */
import {
  ConnectError,
  checkHealth,
  createClient,
  createRetryInterceptor,
  describeService,
  type Interceptor,
  listServices,
  type UnaryMethod,
} from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { createWeatherClient } from "@jetrpc-examples/weather-v1-client";
import { startWeatherWorker } from "./worker.js";

await using nats = await startNats();
const worker = await startWeatherWorker(nats.url);

const authorize: Interceptor = (next) => async (request) => {
  request.header.set("authorization", "Bearer weather");
  return next(request);
};
const connection = await connect({
  nats: { servers: nats.url },
  // Outermost first: each attempt is authorized anew.
  interceptors: [createRetryInterceptor(), authorize],
});
const weather = createWeatherClient(connection);

async function* readings(station: string, ...all: number[]) {
  for (const celsius of all) {
    yield { reading: { station, celsius } };
  }
}

// Server streaming: a stream stays with one worker; leaving the loop ends it there.
const watched = (async () => {
  for await (const { reading } of weather.watchReadings({ station: "Jungfraujoch" })) {
    console.log(`watched: ${reading?.celsius} degrees`);
    if (reading?.celsius === -9) {
      return;
    }
  }
})();

// Client streaming.
const sent = await weather.sendReadings(readings("Jungfraujoch", -7, -8, -9));
await watched;
console.log(`sent: ${sent.count} readings, ${sent.meanCelsius} degrees on average`);

// Unary, with a deadline that travels to the worker.
const { reading } = await weather.getReading({ station: "Jungfraujoch" }, { timeoutMs: 5_000 });
console.log(`latest: ${reading?.celsius} degrees`);
await weather.getReading({ station: "Atlantis" }).catch((error) => {
  console.log(`error: ${ConnectError.from(error).message}`);
});

// Both ways at once.
for await (const { text } of weather.warn(readings("Seville", 31, 36, 41))) {
  console.log(`warning: ${text}`);
}

// The workers that run.
for (const service of await listServices(connection)) {
  const methods = service.methods.map(({ name, kind }) => `${name} (${kind})`).join(", ");
  console.log(`service: ${service.typeName} ${service.version}: ${methods}`);
}
console.log(`health: ${await checkHealth(connection, "weather.v1.WeatherService")}`);

// A call without a .proto: the descriptor comes from the worker.
const service = await describeService(connection, "weather.v1.WeatherService");
const dynamic = createClient<Record<string, UnaryMethod<never, never>>>(service, connection);
console.log(
  "reflected:",
  JSON.stringify(
    await dynamic["getReading"]?.({ station: "Seville" } as never).catch(
      (error) => ConnectError.from(error).message,
    ),
  ),
);

// By hand, in JSON, as `nats request` would: no client library at all.
const { headers } = await import("@nats-io/transport-node");
const header = headers();
header.set("Content-Type", "application/json");
header.set("authorization", "Bearer weather");
const reply = await connection.nats.request(
  "weather.v1.WeatherService.rpc.GetReading",
  JSON.stringify({ station: "Jungfraujoch" }),
  { headers: header, timeout: 1000 },
);
console.log("json:", reply.string());

await worker.drain();
await connection.close();

// Prints:
// …
// watched: -9 degrees
// sent: 3 readings, -8 degrees on average
// latest: -9 degrees
// error: [not_found] station Atlantis has sent nothing yet
// warning: Seville: 36 degrees, drink water
// warning: Seville: 41 degrees, drink water
// service: weather.v1.WeatherService 1.0.0: GetReading (unary), WatchReadings (server_streaming), SendReadings (client_streaming), Warn (bidi_streaming)
// health: SERVING
// reflected: "[not_found] station Seville has sent nothing yet"
// json: {"reading":{"station":"Jungfraujoch","celsius":-9}}
