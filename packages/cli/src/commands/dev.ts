import { existsSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError } from "@jetrpc/runtime";
import { readEnvironment } from "@jetrpc/runtime/node";
import type { NatsServer } from "@jetrpc/testing";
import { Command } from "commander";
import { findCallers, isAlive } from "../callers.js";
import { applySchema } from "../dev/apply-schema.js";
import { type BufFiles, readBufFiles } from "../dev/buf-files.js";
import { DevOutput, wantsColours } from "../dev/dev-output.js";
import { generate } from "../dev/generate.js";
import { commandsOf, readScripts } from "../dev/package-scripts.js";
import { type ProcessGroup, ProcessGroups } from "../dev/process-groups.js";
import { Supervised } from "../dev/supervised.js";
import { type Change, watchFiles } from "../dev/watch-files.js";
import { startServer } from "../development-server.js";
import { ExitCode, UsageError } from "../exit-code.js";
import { host } from "../host.js";
import { onEnter } from "../on-enter.js";
import { pathWithBins } from "../schema.js";
import { collect, withConnection } from "../session.js";

interface Options {
  readonly worker?: string[];
  readonly watch?: string[];
  readonly store?: string;
  readonly server?: string;
  readonly allowDestructive?: boolean;
  readonly console: boolean;
}

/** The name of what this command says itself. */
const self = "jetrpc";

/** Where a client looks for a server when nobody says where it is. */
const defaultUrl = "nats://127.0.0.1:4222";

/** How often it is looked whether the server and who started this are there, in ms. */
const lookMs = 500;

/** npm hands Ctrl-C on to a process that has it from the terminal already: that counts as one, in ms. */
const sameMs = 500;

/** `jetrpc dev`: all that a repository needs while somebody writes it. */
export function devCommand(program: Command): Command {
  return new Command("dev")
    .option(
      "--worker <command>",
      "starts a worker; repeatable (default: the scripts worker and worker:NAME of package.json)",
      collect,
    )
    .option(
      "--watch <path>",
      "restarts workers when it changes; repeatable (default: all)",
      collect,
    )
    .option("--store <dir>", "keep there what JetStream stores (default: nothing is kept)")
    .option("--server <url>", "use this server, which may be another machine's; it is not ended")
    .option("--allow-destructive", "change streams also where that drops what is stored")
    .option("--no-console", "without the console")
    .action((options: Options) =>
      dev({
        ...options,
        console: options.console && program.commands.some((verb) => verb.name() === "console"),
      }),
    );
}

async function dev(options: Options): Promise<void> {
  if (process.platform === "win32") {
    throw new ConnectError(
      "`jetrpc dev` is for Linux and macOS: run it in WSL here",
      Code.Unimplemented,
    );
  }
  for (const path of options.watch ?? []) {
    if (!existsSync(path)) {
      throw new UsageError(`--watch ${path}: there is no such file or folder here`);
    }
  }
  const callers = findCallers();
  const scripts = readScripts();
  const session = new DevSession(options, scripts);
  let interruptedAt: number | undefined;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (interruptedAt === undefined) {
        interruptedAt = performance.now();
        session.end();
      } else if (signal === "SIGINT" && performance.now() - interruptedAt > sameMs) {
        // Whatever runs still ends with this process.
        process.exit(ExitCode.interrupted);
      }
    });
  }
  const look = setInterval(() => {
    if (!callers.every(isAlive)) {
      session.end();
    }
  }, lookMs);
  try {
    await session.run();
  } finally {
    clearInterval(look);
  }
}

/** All that runs until the command ends. */
class DevSession {
  private readonly output: DevOutput;
  private readonly groups = new ProcessGroups();
  private readonly env: NodeJS.ProcessEnv;
  private readonly buf: BufFiles;
  private readonly generateCommand: string;
  private readonly supervised: Supervised[];
  private readonly asked = new AbortController();
  private nats: NatsServer | undefined;
  private generating: ProcessGroup | undefined;

  constructor(
    private readonly options: Options,
    scripts: Readonly<Record<string, string>>,
  ) {
    const isColoured = wantsColours(host().env, host().stdout.isTTY);
    this.output = new DevOutput(isColoured, host());
    this.env = {
      ...host().env,
      PATH: pathWithBins(),
      ...(isColoured && { FORCE_COLOR: "1" }),
      ...(options.server && { NATS_URL: options.server }),
    };
    this.buf = readBufFiles();
    this.generateCommand = scripts["generate"] ?? "buf generate";
    const commands = commandsOf(scripts, options.worker);
    // A script dev:console has other options for it.
    if (options.console && !commands.some(({ name }) => name === "console")) {
      const words = [process.execPath, process.argv[1] ?? "", "console", "--dev"];
      const command = words.map(quote).join(" ");
      commands.push({ name: "console", command, isWorker: false, hasStdin: true });
    }
    this.output.add(self, ...commands.map(({ name }) => name), "generate", "apply");
    this.supervised = commands.map(
      (command) => new Supervised(command, this.groups, this.env, this.output),
    );
  }

  /** Runs all until it is asked to end. Throws what made that impossible. */
  async run(): Promise<void> {
    try {
      await this.ensureServer();
      await this.runUntilAsked();
    } finally {
      await Promise.all(this.supervised.map((each) => each.end()));
      await this.nats?.stop();
      this.groups.close();
    }
  }

  /** Lets all finish what they do. */
  end(): void {
    if (!this.asked.signal.aborted) {
      this.output.write(self, "ending; Ctrl-C again ends all at once");
      this.generating?.kill();
      this.asked.abort();
    }
  }

  private async runUntilAsked(): Promise<void> {
    // Changes that come while one is dealt with.
    let pending: Change | undefined;
    let wake = () => {};
    const watcher = await watchFiles({
      buf: this.buf,
      paths: this.options.watch ?? ["."],
      onChange: (change) => {
        pending = {
          isSchema: change.isSchema || pending?.isSchema === true,
          code: [...(pending?.code ?? []), ...change.code],
        };
        wake();
      },
      onError: (error) => this.sayWatchError(error),
    });
    this.asked.signal.addEventListener("abort", () => wake());
    const stopKeys = host().stdin.isTTY ? onEnter(() => this.pressEnter()) : () => {};
    const died = this.watchServer();
    // It may reject while a change is dealt with: then the next wait ends.
    died.catch(() => undefined);
    try {
      let hasStarted = await this.update();
      if (hasStarted) {
        this.startAll();
      } else if (!this.asked.signal.aborted) {
        this.output.write(self, "workers start when that is mended", "error");
      }
      while (!this.asked.signal.aborted) {
        const woken = new Promise<void>((resolve) => {
          wake = resolve;
        });
        if (pending === undefined) {
          await Promise.race([woken, died]);
        }
        const change = pending as Change | undefined;
        pending = undefined;
        if (change && !this.asked.signal.aborted) {
          hasStarted = await this.deal(change, hasStarted);
        }
      }
    } finally {
      stopKeys();
      await watcher.close();
    }
  }

  /** Deals with a change. Returns whether workers have been started. */
  private async deal({ isSchema, code }: Change, hasStarted: boolean): Promise<boolean> {
    if (isSchema || !hasStarted) {
      const isGood = await this.update();
      if (!isGood) {
        const text = hasStarted
          ? "the workers go on as they are"
          : "workers start when that is mended";
        this.output.write(self, text, "error");
        return hasStarted;
      }
    }
    if (!hasStarted) {
      this.startAll();
      return true;
    }
    const [first = ".proto files", ...others] = code;
    const more = others.length > 0 ? ` and ${others.length} more` : "";
    this.output.write(self, `restarting workers: ${first}${more} changed`);
    for (const each of this.supervised) {
      if (each.command.isWorker) {
        each.restart();
      }
    }
    return true;
  }

  /** Generates code and sets the server up. False when the .proto files do not allow it. */
  private async update(): Promise<boolean> {
    const { hasSchema, hasTemplate } = this.buf;
    if (hasTemplate) {
      const startedAt = performance.now();
      const isGood = await generate(
        this.generateCommand,
        this.groups,
        this.env,
        this.output,
        (group) => {
          this.generating = group;
        },
      );
      this.generating = undefined;
      if (!isGood) {
        return false;
      }
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      this.output.write("generate", `done in ${seconds} s`);
    } else if (hasSchema) {
      this.output.write(self, "no buf.gen.yaml is here: no code is generated");
    }
    if (hasSchema) {
      // What a server of its own has stored is of no more worth than the command itself.
      const isOwn = this.nats !== undefined && this.options.store === undefined;
      await applySchema(
        { ...(this.options.server && { server: this.options.server }) },
        {
          allowDestructive: isOwn || this.options.allowDestructive === true,
          mend: isOwn
            ? "start `jetrpc dev` again, which begins with nothing stored"
            : "see `jetrpc apply`, or start `jetrpc dev --allow-destructive` where it is allowed to lose what is marked with ! or -",
        },
        this.output,
      );
    } else {
      this.output.write(self, "no buf.yaml is here: workers make their streams themselves");
    }
    return true;
  }

  private pressEnter(): void {
    for (const each of this.supervised) {
      each.pressEnter();
    }
  }

  private startAll(): void {
    for (const each of this.supervised) {
      each.start();
    }
  }

  /** Uses the server that answers where NATS_URL says, or starts one there. */
  private async ensureServer(): Promise<void> {
    const { server } = this.options;
    const url = server ?? ((await readEnvironment())["NATS_URL"] || defaultUrl);
    const place = localPlace(url);
    if (server === undefined && !place) {
      throw new UsageError(
        `NATS_URL is not an address of this machine, and \`jetrpc dev\` changes streams as you write: give --server, if that is meant, or write NATS_URL=${defaultUrl} into .env`,
      );
    }
    if (server === undefined && place && !(await listens(place))) {
      const { running, version } = await startServer({
        port: place.port,
        store: this.options.store,
        report: (line) => this.output.write(self, line),
      });
      this.nats = running;
      const kept =
        this.options.store === undefined
          ? "nothing is kept"
          : `it keeps ${resolve(this.options.store)}`;
      this.output.write(self, `nats-server ${version} is running at ${running.url}; ${kept}`);
      return;
    }
    if (this.options.store !== undefined) {
      throw new UsageError(
        `--store is for a server that \`jetrpc dev\` starts, and another one runs already at ${place?.host}:${place?.port}`,
      );
    }
    await withConnection({ ...(server && { server }) }, async ({ nats }) => {
      const { version } = nats.info ?? {};
      this.output.write(self, `nats-server ${version} is used, which runs at ${nats.getServer()}`);
    });
  }

  /** Rejects when the server of this command has ended by itself. */
  private async watchServer(): Promise<never> {
    while (!this.nats || isAlive(this.nats.pid)) {
      await delay(lookMs, undefined, { signal: this.asked.signal }).catch(
        () => new Promise<never>(() => {}),
      );
    }
    throw new ConnectError("nats-server has ended by itself", Code.Aborted);
  }

  private sayWatchError({ code, message }: NodeJS.ErrnoException): void {
    const text =
      code === "ENOSPC" || code === "EMFILE"
        ? "too many files to watch: name those of workers by --watch src, or raise the limit of this machine (fs.inotify.max_user_watches)"
        : `changes cannot be seen: ${message}`;
    this.output.write(self, text, "error");
  }
}

/** Where one server of this machine listens; undefined for any other. */
function localPlace(url: string): { host: string; port: number } | undefined {
  const [, host, port = "4222"] =
    /^(?:nats:\/\/)?(?:[^@/]*@)?(127\.0\.0\.1|localhost)(?::(\d+))?\/?$/.exec(url) ?? [];
  return host === undefined ? undefined : { host, port: Number(port) };
}

/** True when something listens there. */
function listens({ host, port }: { host: string; port: number }): Promise<boolean> {
  return new Promise((done) => {
    const socket = connectTcp(port, host);
    const end = (is: boolean) => {
      socket.destroy();
      done(is);
    };
    socket.once("connect", () => end(true)).once("error", () => end(false));
  });
}

/** A word for the shell. */
function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
