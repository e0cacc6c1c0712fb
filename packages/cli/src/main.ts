import { createRequire } from "node:module";
import { ConnectError } from "@jetrpc/runtime";
import { codeName } from "@jetrpc/runtime/schema";
import { Command, CommanderError } from "commander";
import { commands } from "./commands/index.js";
import { Exit, ExitCode, UsageError } from "./exit-code.js";
import { printError } from "./output.js";

const { version } = createRequire(import.meta.url)("../package.json") as { version: string };

/** Runs `jetrpc` with the given arguments, and returns its exit code. */
export async function main(args: readonly string[]): Promise<number> {
  process.stdout.on("error", () => {
    // The reader of the output has closed it: `jetrpc dead list | head`.
    process.exit();
  });
  const asJson = args.includes("--json");
  try {
    await createProgram(asJson).parseAsync(args, { from: "user" });
    return ExitCode.ok;
  } catch (error) {
    if (error instanceof Exit) {
      return error.code;
    }
    if (error instanceof CommanderError) {
      // Commander has said why. Help and version are no mistakes.
      return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
    }
    if (error instanceof UsageError) {
      printError(error.message, "usage", asJson);
      return ExitCode.usage;
    }
    const { code, rawMessage } = ConnectError.from(error);
    printError(rawMessage, codeName(code), asJson);
    return ExitCode.failed;
  }
}

function createProgram(asJson: boolean): Command {
  const program = new Command("jetrpc")
    .description("Sets up, checks and operates jetrpc services on a NATS server.")
    .version(version);
  for (const create of commands) {
    program.addCommand(create(program));
  }
  for (const command of [program, ...descendants(program)]) {
    command.exitOverride().configureOutput({
      outputError: (text) => printError(text.replace(/^error: /, "").trim(), "usage", asJson),
    });
  }
  return program;
}

/** All commands below one. */
function descendants(command: Command): Command[] {
  return command.commands.flatMap((child) => [child, ...descendants(child)]);
}
