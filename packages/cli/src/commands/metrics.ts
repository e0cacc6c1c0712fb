import { once } from "node:events";
import { Command } from "commander";
import { askedToEnd } from "../asked-to-end.js";
import { Exit, ExitCode, UsageError } from "../exit-code.js";
import { host, onHost } from "../host.js";
import { addressOf } from "../listen-address.js";
import { Exporter } from "../metrics/exporter.js";
import { serveMetrics, urlOf } from "../metrics/metrics-server.js";
import { monitorsOf } from "../monitors.js";
import { print, printJson, printLog } from "../output.js";
import { loadSchema, NoSchema } from "../schema.js";
import { addSessionOptions, collect, open, type SessionOptions } from "../session.js";

interface Options extends SessionOptions {
  listen: string;
  monitor?: string[];
  interval: string;
  once?: boolean;
}

/** `jetrpc metrics`: an exporter for Prometheus. */
export function metricsCommand(): Command {
  return addSessionOptions(
    new Command("metrics")
      .option("--listen <address>", "where they are served; port 0 for any", "127.0.0.1:9464")
      .option("--monitor <url>", "monitoring port of a server; repeatable", collect)
      .option("--interval <seconds>", "how old figures may be", "5")
      .option("--once", "print them, and end"),
  ).action(metrics);
}

async function metrics(options: Options): Promise<void> {
  const address = addressOf(options.listen);
  const intervalMs = millisecondsOf(options.interval);
  const log = onHost((line: string) => printLog(line, options.json));
  const exporter = new Exporter({
    services: await servicesOf(options, log),
    monitors: monitorsOf(options),
    intervalMs,
    connect: onHost(() => open(options)),
    log,
  });
  if (options.once) {
    const samples = await exporter.scrape();
    if (options.json) {
      samples.toJson().forEach(printJson);
    } else {
      host().stdout.write(await samples.text("prometheus"));
    }
    await exporter.close();
    if (!exporter.isWell) {
      throw new Exit(ExitCode.failed);
    }
    return;
  }
  const server = await serveMetrics(exporter, address);
  if (options.json) {
    printJson({ url: urlOf(server) });
  } else {
    print(`metrics are at ${urlOf(server)}`);
  }
  await once(askedToEnd(), "abort");
  server.close();
  server.closeAllConnections();
  await exporter.close();
}

/** Servers can be looked at without a schema. */
async function servicesOf(options: Options, log: (line: string) => void) {
  try {
    return (await loadSchema(options)).services;
  } catch (cause) {
    if (cause instanceof NoSchema) {
      log(`metrics of servers only: ${cause.message}`);
      return [];
    }
    throw cause;
  }
}

function millisecondsOf(text: string): number {
  const seconds = Number(text);
  if (!(seconds >= 0 && seconds <= 3_600) || text.trim() === "") {
    throw new UsageError(`--interval ${text} is no time in seconds: give a number up to 3600`);
  }
  return seconds * 1000;
}
