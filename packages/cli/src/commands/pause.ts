import { Command } from "commander";
import { UsageError } from "../exit-code.js";
import { findMethod, operatorsOf } from "../operators.js";
import { print, printJson } from "../output.js";
import { addSessionOptions, type SessionOptions, withSession } from "../session.js";

interface Options extends SessionOptions {
  until?: string;
}

/** `jetrpc pause METHOD`: lets workers take no further calls of a method. */
export function pauseCommand(): Command {
  return addSessionOptions(
    new Command("pause")
      .description("let workers take no further calls of a method; calls are accepted still")
      .argument("<method>", "its name, or its full name")
      .option("--until <time>", "end of the pause: 2030-01-31T12:00:00Z (default: resume)"),
  ).action(pause);
}

async function pause(name: string, options: Options): Promise<void> {
  const until = options.until === undefined ? undefined : new Date(options.until);
  if (until && Number.isNaN(until.getTime())) {
    throw new UsageError(`--until ${options.until} is no time: write 2030-01-31T12:00:00Z`);
  }
  await withSession(options, async (connection, schema) => {
    const { service, operator, method } = findMethod(operatorsOf(connection, schema), name);
    await operator.pause(method, until);
    if (options.json) {
      printJson({ service: service.typeName, method, paused: true });
    } else {
      print(`${service.typeName}.${method} is paused`);
    }
  });
}
