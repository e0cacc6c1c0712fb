import { Code, ConnectError, type Interceptor, startWorker, type Worker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import {
  type Reading,
  WeatherService,
  type WeatherWorker,
} from "@jetrpc-examples/weather-v1-client";

/** A worker keeps the latest reading of each station in memory. */
class Weather implements WeatherWorker {
  private readonly latest = new Map<string, Reading>();
  private readonly watchers = new Set<(reading: Reading) => void>();

  getReading: WeatherWorker["getReading"] = ({ station }) => {
    const reading = this.latest.get(station);
    if (!reading) {
      throw new ConnectError(`station ${station} has sent nothing yet`, Code.NotFound);
    }
    return { reading };
  };

  async *watchReadings({ station }: { station: string }, { signal }: { signal: AbortSignal }) {
    const waiting = [...this.latest.values()];
    let wake: (() => void) | undefined;
    const watch = (reading: Reading) => {
      waiting.push(reading);
      wake?.();
    };
    // Fires when the caller leaves, vanishes, or has no time left.
    signal.addEventListener("abort", () => wake?.());
    this.watchers.add(watch);
    try {
      while (!signal.aborted) {
        const reading = waiting.shift();
        if (!reading) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        } else if (reading.station === station) {
          yield { reading };
        }
      }
    } finally {
      this.watchers.delete(watch);
    }
  }

  sendReadings: WeatherWorker["sendReadings"] = async (requests) => {
    let count = 0;
    let sum = 0;
    for await (const { reading } of requests) {
      if (reading) {
        count++;
        sum += reading.celsius;
        this.latest.set(reading.station, reading);
        for (const watch of this.watchers) {
          watch(reading);
        }
      }
    }
    return { count, meanCelsius: count === 0 ? 0 : sum / count };
  };

  warn: WeatherWorker["warn"] = async function* (requests) {
    for await (const { reading } of requests) {
      if (reading && reading.celsius > 35) {
        yield { text: `${reading.station}: ${reading.celsius} degrees, drink water` };
      }
    }
  };
}

/** One interceptor for calls of all kinds. */
const authenticate: Interceptor = (next) => async (request) => {
  if (request.header.get("authorization") !== "Bearer weather") {
    throw new ConnectError("send authorization: Bearer weather", Code.Unauthenticated);
  }
  return next(request);
};

/** Serves the weather on a connection of its own. */
export async function startWeatherWorker(url: string): Promise<Worker> {
  const connection = await connect({ nats: { servers: url } });
  const worker = await startWorker(WeatherService, new Weather(), connection, {
    version: "1.0.0",
    interceptors: [authenticate],
  });
  void worker.closed.then(() => connection.close());
  return worker;
}
