import { createRequire } from "node:module";
import { Command, CommanderError } from "commander";
import { actsToTheEnd } from "./closed-output.js";
import { type Verb, verbs } from "./commands/index.js";
import { Exit, ExitCode, UsageError } from "./exit-code.js";
import { type Host, host, runOn } from "./host.js";
import { printError } from "./output.js";

const { version } = createRequire(import.meta.url)("../package.json") as { version: string };

/** Runs `jetrpc` with the given arguments, and returns its exit code. */
export function main(args: readonly string[]): Promise<number> {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      // A terminal that is closed gives EIO, and SIGHUP asks to end.
      if (error.code === "EIO") {
        return;
      }
      // The reader of the output has closed it: `jetrpc dead list | head`.
      if (["EPIPE", "ERR_STREAM_DESTROYED"].includes(error.code ?? "")) {
        if (actsToTheEnd()) {
          return;
        }
        process.exit();
      }
      // A full disk. Who reads the output later must not take it for all.
      if (stream === process.stdout) {
        const text = `the output cannot be written: ${error.message}`;
        printError(text, "data_loss", args.includes("--json"));
      }
      process.exit(ExitCode.failed);
    });
  }
  return run(args);
}

/** Runs `jetrpc` on a host, and returns its exit code. */
export function mainOn(given: Host, args: readonly string[]): Promise<number> {
  return runOn(given, () => run(args));
}

async function run(args: readonly string[]): Promise<number> {
  const asJson = args.includes("--json");
  try {
    const program = await createProgram(args, asJson);
    refuseUnknownHelp(program, args);
    await program.parseAsync(args, { from: "user" });
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
    const [{ Code, ConnectError }, { codeName }] = await Promise.all([
      import("@jetrpc/runtime"),
      import("@jetrpc/runtime/schema"),
    ]);
    const { code, rawMessage } = ConnectError.from(error);
    const role = code === Code.PermissionDenied ? roleFor(args) : undefined;
    const isSaid = role === undefined || rawMessage.includes(role);
    printError(isSaid ? rawMessage : `${rawMessage}; the role ${role} may`, codeName(code), asJson);
    // What was given is wrong: the same again fails again.
    return code === Code.InvalidArgument ? ExitCode.usage : ExitCode.failed;
  }
}

async function createProgram(args: readonly string[], asJson: boolean): Promise<Command> {
  const program = new Command("jetrpc")
    .description("Sets up, checks and operates jetrpc services on a NATS server.")
    .version(version);
  for (const verb of verbs) {
    const command = isMeant(verb, args)
      ? (await verb.load())(program)
      : new Command(verb.name).allowUnknownOption();
    program.addCommand(command.description(verb.description), { hidden: verb.isHidden ?? false });
  }
  program.hook("preAction", (_, command) => refuseEmpty(command));
  for (const command of [program, ...descendants(program)]) {
    command.exitOverride().configureOutput({
      writeOut: (text) => host().stdout.write(text),
      outputError: (text) => printError(unknownOf(command, text) ?? toLine(text), "usage", asJson),
    });
  }
  return program;
}

/** An option without a value is a variable of a script that is not set: `--prefix "$ORDER"` would mean all calls. */
function refuseEmpty(command: Command): void {
  for (const option of command.options) {
    const values: unknown[] = [command.getOptionValue(option.attributeName())].flat();
    if (values.includes("")) {
      throw new UsageError(`${option.long} is empty: give it a value, or leave it out`);
    }
  }
}

/** `jetrpc help cals` would show the help of all, and not say why. */
function refuseUnknownHelp(program: Command, args: readonly string[]): void {
  const words = args.filter((arg) => !arg.startsWith("-"));
  const at = words.indexOf("help");
  const name = words[at + 1];
  let of: Command | undefined = program;
  for (const word of words.slice(0, Math.max(at, 0))) {
    of = of?.commands.find((command) => command.name() === word);
  }
  const known = of?.commands.map((command) => command.name()) ?? [];
  if (at >= 0 && name !== undefined && known.length > 0 && !["help", ...known].includes(name)) {
    throw new UsageError(
      `unknown command '${name}': see \`${["jetrpc", ...words.slice(0, at)].join(" ")} --help\``,
    );
  }
}

/** Commander says "too many arguments" of what was meant as a command of `jetrpc gateway`. */
function unknownOf(command: Command, text: string): string | undefined {
  const names = command.commands.map((each) => each.name());
  return text.startsWith("error: too many arguments") && names.length > 0
    ? `unknown command '${command.args[0]}' of ${command.name()}: there is ${names.join(", ")}`
    : undefined;
}

/** The message of commander, which may add a line of its own. */
function toLine(message: string): string {
  return message
    .replace(/^error: /, "")
    .trim()
    .replaceAll("\n", " ");
}

/** The role that may do all that a verb does. */
function roleFor(args: readonly string[]): string | undefined {
  return verbs.find(({ name }) => name === args.find((arg) => !arg.startsWith("-")))?.role;
}

/** Verbs that are about the verb behind them. */
const aboutVerbs = ["help", "complete"];

/** True when the code of a verb is needed: for it, for what is about it, or for the words of all verbs. */
function isMeant({ name }: Verb, args: readonly string[]): boolean {
  const [first = "", second] = args.filter((arg) => !arg.startsWith("-"));
  return (
    first === name || first === "completion" || (aboutVerbs.includes(first) && second === name)
  );
}

/** All commands below one. */
function descendants(command: Command): Command[] {
  return command.commands.flatMap((child) => [child, ...descendants(child)]);
}
