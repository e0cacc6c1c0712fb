import { existsSync } from "node:fs";
import { Code, ConnectError } from "@jetrpc/runtime";
import { Command } from "commander";
import { findCallers, isAlive } from "../callers.js";
import { applySchema } from "../dev/apply-schema.js";
import { claimFolder } from "../dev/claim-folder.js";
import { DevOutput, wantsColours } from "../dev/dev-output.js";
import { type DevServer, findServer } from "../dev/dev-server.js";
import { generate } from "../dev/generate.js";
import { type ProcessGroup, ProcessGroups } from "../dev/process-groups.js";
import { differences, readSettings, type Settings } from "../dev/settings.js";
import { Supervised } from "../dev/supervised.js";
import { type Change, watchFiles } from "../dev/watch-files.js";
import { ExitCode, UsageError } from "../exit-code.js";
import { host } from "../host.js";
import { onEnter } from "../on-enter.js";
import { pathWithBins } from "../schema.js";
import { collect } from "../session.js";

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

/** How often it is looked whether who started this is there, in ms. */
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
  const session = new DevSession(options, await readSettings(options));
  let interruptedAt: number | undefined;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (interruptedAt === undefined) {
        interruptedAt = performance.now();
        session.end(signal);
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
  private readonly supervised: Supervised[];
  private readonly asked = new AbortController();
  /** Of the errors of watching files, those that were told. */
  private readonly toldErrors = new Set<string>();
  /** The settings of files when they were compared last. */
  private seenSettings: Settings;
  private server: DevServer | undefined;
  private generating: ProcessGroup | undefined;
  /** Folders of generated code that are there. */
  private generated: readonly string[] = [];

  constructor(
    private readonly options: Options,
    private readonly settings: Settings,
  ) {
    const isColoured = wantsColours(host().env, host().stdout.isTTY);
    this.output = new DevOutput(isColoured, host());
    this.env = {
      ...host().env,
      PATH: pathWithBins(),
      ...(isColoured && { FORCE_COLOR: "1" }),
      ...(options.server && { NATS_URL: options.server }),
    };
    this.seenSettings = settings;
    const commands = [...settings.commands];
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
    let claim: { release(): void } | undefined;
    try {
      claim = await claimFolder();
      this.server = await findServer({
        url: this.settings.url,
        isGiven: this.options.server !== undefined,
        store: this.options.store,
        say: (line, level) => this.output.write(self, line, level),
      });
      await this.runUntilAsked(this.server);
    } finally {
      await Promise.all(this.supervised.map((each) => each.end()));
      await this.server?.stop();
      this.groups.close();
      claim?.release();
    }
  }

  /** Lets all finish what they do. */
  end(signal?: NodeJS.Signals): void {
    if (signal === "SIGHUP") {
      // The terminal is gone, and to write to it would end this process at once.
      this.output.silence();
    }
    if (!this.asked.signal.aborted) {
      this.output.write(self, "ending; Ctrl-C again ends all at once");
      this.generating?.kill();
      this.asked.abort();
    }
  }

  private async runUntilAsked(server: DevServer): Promise<void> {
    // Changes that come while one is dealt with.
    let pending: Change | undefined;
    let wake = () => {};
    const onChange = (change: Change) => {
      pending = {
        isSchema: change.isSchema || pending?.isSchema === true,
        isSetting: change.isSetting || pending?.isSetting === true,
        code: [...(pending?.code ?? []), ...change.code],
      };
      wake();
    };
    const watcher = await watchFiles({
      buf: this.settings.buf,
      paths: this.options.watch ?? ["."],
      onChange,
      onError: (error) => this.sayWatchError(error),
    });
    this.asked.signal.addEventListener("abort", () => wake());
    const stopKeys = host().stdin.isTTY ? onEnter(() => this.pressEnter()) : () => {};
    const died = server.watch(() => void this.apply());
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
  private async deal(change: Change, hasStarted: boolean): Promise<boolean> {
    const { isSchema, isSetting, code } = change;
    if (isSetting) {
      await this.compareSettings();
    }
    // Somebody has cleaned the folder, or checked another branch out.
    const isCodeGone = !this.generated.every((path) => existsSync(path));
    if (isSchema || !hasStarted || (code.length > 0 && isCodeGone)) {
      const isGood = await this.update();
      if (!isGood) {
        const text = hasStarted
          ? "the workers go on as they are"
          : "workers start when that is mended";
        this.output.write(self, text, "error");
        return hasStarted;
      }
    } else if (code.length === 0) {
      return hasStarted;
    }
    if (!hasStarted) {
      this.startAll();
      return true;
    }
    const [first = ".proto files", ...others] = new Set(code);
    const more = others.length > 0 ? ` and ${others.length} more` : "";
    this.output.write(self, `restarting workers: ${first}${more} changed`);
    for (const each of this.supervised) {
      if (each.command.isWorker) {
        each.restart();
      }
    }
    return true;
  }

  /** Says which settings have changed: they are read once, when the command starts. */
  private async compareSettings(): Promise<void> {
    try {
      const now = await readSettings(this.options);
      const fresh = new Set(differences(this.seenSettings, now));
      for (const place of differences(this.settings, now).filter((each) => fresh.has(each))) {
        const text = `${place} changed: end this by Ctrl-C and start it again, to use what is there now`;
        this.output.write(self, text, "warn");
      }
      this.seenSettings = now;
    } catch (error) {
      this.output.write(self, ConnectError.from(error).rawMessage, "warn");
    }
  }

  /** Generates code and sets the server up. False when the .proto files do not allow it. */
  private async update(): Promise<boolean> {
    const { hasSchema, hasTemplate, outputs } = this.settings.buf;
    if (hasTemplate) {
      const startedAt = performance.now();
      const isGood = await generate(
        this.settings.generate,
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
      this.generated = outputs.filter((path) => existsSync(path));
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      this.output.write("generate", `done in ${seconds} s`);
    } else if (hasSchema) {
      this.output.write(self, "no buf.gen.yaml is here: no code is generated");
    }
    if (!hasSchema) {
      this.output.write(self, "no buf.yaml is here: workers make their streams themselves");
    }
    await this.apply();
    return true;
  }

  /** Sets the server up as the schema says. */
  private async apply(): Promise<void> {
    if (!this.settings.buf.hasSchema) {
      return;
    }
    const { server, allowDestructive } = this.options;
    // What a server that keeps nothing has stored is of no more worth than the command itself.
    const keepsNothing = this.server?.keepsNothing === true;
    await applySchema(
      { ...(server && { server }) },
      {
        allowDestructive: keepsNothing || allowDestructive === true,
        mend: keepsNothing
          ? "start `jetrpc dev` again, which begins with nothing stored"
          : "see `jetrpc apply`, or start `jetrpc dev --allow-destructive` where it is allowed to lose what is marked with ! or -",
      },
      this.output,
    );
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

  private sayWatchError({ code = "", message }: NodeJS.ErrnoException): void {
    // Each folder that cannot be watched is an error.
    if (this.toldErrors.has(code)) {
      return;
    }
    this.toldErrors.add(code);
    const limit = { ENOSPC: "max_user_watches", EMFILE: "max_user_instances" }[code];
    const text = limit
      ? `not all changes are seen, as this machine watches too many files: name those of workers by --watch src, or raise its limit (fs.inotify.${limit})`
      : `changes cannot be seen: ${message}`;
    this.output.write(self, text, "error");
  }
}

/** A word for the shell. */
function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
