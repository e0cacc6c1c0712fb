import { existsSync, statSync } from "node:fs";
import { basename, relative, resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import { parseArgs } from "node:util";
import {
  createRepository,
  inWordsOf,
  isFree,
  type Manager,
  workspacesAbove,
} from "./create-repository.js";
import { nameProblem } from "./package-name.js";

const help = `Makes a repository with a contract, a worker, a client and a test, over NATS by jetrpc.

  npm create jetrpc [folder] [-- --web]

  --web, --no-web  with a React page and a gateway, or without
  --name <name>    of the package (default: that of the folder)
  -h, --help

In a terminal it asks for what is not given.`;

/** How to work where `node_modules` is elsewhere. */
const hoisted =
  "https://github.com/jetrpc/jetrpc/tree/main/packages/protoc-gen-jetrpc#where-node_modules-is-elsewhere";

const defaultFolder = "jetrpc-app";

/** The command line cannot be obeyed; the text says what to write instead. */
class UsageError extends Error {}

/** The oldest Node that runs what is made. */
const oldestNode = 20;

/** Runs the command, and returns its exit code. */
export async function main(args: readonly string[]): Promise<number> {
  if (Number.parseInt(process.versions.node, 10) < oldestNode) {
    console.error(
      `create-jetrpc: this is Node ${process.versions.node}, and Node ${oldestNode} or newer is needed`,
    );
    return 1;
  }
  try {
    return await create(args);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (error instanceof UsageError || code?.startsWith("ERR_PARSE_ARGS")) {
      // Node goes on about arguments that begin with "-".
      const [what] = message.split(". ", 1);
      const isUsage = error instanceof UsageError;
      console.error(`create-jetrpc: ${isUsage ? message : `${what}: see --help`}`);
      return 2;
    }
    console.error(`create-jetrpc: the repository could not be written: ${message}`);
    return 1;
  }
}

async function create(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      web: { type: "boolean" },
      "no-web": { type: "boolean" },
      name: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) {
    console.log(help);
    return 0;
  }
  if (positionals.length > 1) {
    throw new UsageError(`one folder is made at a time: ${positionals.join(", ")} were given`);
  }
  const terminal = new Terminal();
  const given = positionals[0] ?? (await terminal.ask("Folder", defaultFolder));
  if (given === undefined) {
    throw new UsageError("name the folder: `npm create jetrpc my-app`");
  }
  const folder = resolve(given);
  // npm keeps an option that stands before "--" to itself, and tells it by a variable.
  const name = values.name ?? process.env["npm_config_name"] ?? basename(folder);
  const problem = nameProblem(name);
  if (problem !== undefined) {
    throw new UsageError(`${problem}, as the folder's name or by --name`);
  }
  if (existsSync(folder) && !statSync(folder).isDirectory()) {
    throw new UsageError(`${given} is a file: name a folder that is empty, or is not there yet`);
  }
  if (!isFree(folder)) {
    throw new UsageError(`${given} is not empty: name a folder that is, or is not there yet`);
  }
  const hasWeb =
    values["no-web"] === true
      ? false
      : values.web === true ||
        process.env["npm_config_web"] === "true" ||
        /^y/i.test((await terminal.ask("With a React page? (y/n)", "n")) ?? "");
  terminal.close();
  const manager = managerOf(process.env["npm_config_user_agent"]);
  createRepository({ folder, name, manager, hasWeb });
  const path = relative(process.cwd(), folder);
  const enter = path === "" ? [] : [`cd ${quote(path)}`];
  const show = (...steps: string[]) =>
    [...enter, ...steps].map((step) => `  ${inWordsOf(manager, step)}`).join("\n");
  console.log(`${path === "" ? "This folder" : path} has a contract, a worker, a client and a test${hasWeb ? ", and a page" : ""}. Next:

${show("npm install", "npm run dev")}

When its worker says "ready", in a second terminal:

${show("npm run client -- Ada")}
${hasWeb ? `\nThe address of the page is in the output of ${inWordsOf(manager, "npm run dev")}.\n` : ""}
README.md there says more.`);
  // pnpm gives each package a `node_modules` of its own.
  const root = manager === "pnpm" ? undefined : workspacesAbove(folder);
  if (root !== undefined) {
    console.log(`
${relative(process.cwd(), root) || "This folder"} has workspaces. If npm installs into its node_modules, buf says
"imported file does not exist" here: ${hoisted}
says what to do.`);
  }
  return 0;
}

/** Asks the person at the terminal; nobody where there is none. */
class Terminal {
  private readonly reader =
    process.stdin.isTTY && process.stdout.isTTY
      ? createInterface({ input: process.stdin, output: process.stdout })
      : undefined;

  constructor() {
    // Ctrl-C and Ctrl-D end a question that would wait for ever.
    this.reader?.once("close", () => {
      if (!this.isClosed) {
        console.log();
        process.exit(130);
      }
    });
  }
  private isClosed = false;

  async ask(question: string, preset: string): Promise<string | undefined> {
    const answer = await this.reader?.question(`${question} [${preset}]: `);
    return answer?.trim() || (this.reader && preset);
  }

  close(): void {
    this.isClosed = true;
    this.reader?.close();
  }
}

/** The package manager that runs this. */
function managerOf(userAgent: string | undefined): Manager {
  return userAgent?.startsWith("pnpm") ? "pnpm" : "npm";
}

/** A word for the shell. */
function quote(word: string): string {
  return /^[\w./@~-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
