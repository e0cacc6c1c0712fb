import { existsSync } from "node:fs";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "./run-command.js";

/** Debian's archive, whichever mirror is near. */
export const debianMirror = "http://deb.debian.org/debian";

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** Where to fetch from and to. */
export interface FetchPackageOptions {
  readonly mirror: string;
  /** A release of Debian: `sid`, `forky`, ... */
  readonly suite: string;
  /** An empty folder. */
  readonly directory: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly report: (line: string) => void;
}

/**
 * Fetches Debian's package of nats-server and returns the path of the binary
 * in it. apt-get checks the archive's signature with Debian's keyring. It keeps
 * lists, cache and state in the folder and reads no sources but its own, so
 * that the system's packages are as they were, and so that it need not be root.
 */
export async function fetchDebianPackage(options: FetchPackageOptions): Promise<string> {
  const { directory, suite, report } = options;
  // First, since without apt-get this is no Debian and the rest is of no interest.
  const settings = await runCommand("apt-config", ["dump"], {
    env: options.env,
    timeoutMs: 10_000,
  });
  if (!existsSync(keyring)) {
    throw new Error(`there is no ${keyring}: install debian-archive-keyring`);
  }
  await mkdir(join(directory, "lists", "partial"), { recursive: true });
  await mkdir(join(directory, "cache", "archives", "partial"), { recursive: true });
  await writeFile(join(directory, "status"), "");
  await writeFile(
    join(directory, "sources.list"),
    `deb [signed-by=${keyring}] ${options.mirror} ${suite} main\n`,
  );
  await writeFile(join(directory, "apt.conf"), aptConfig(directory, settings));
  const env = { ...options.env, APT_CONFIG: join(directory, "apt.conf") };

  report(`reading the package list of Debian ${suite}`);
  await runCommand("apt-get", ["-q", "update"], { cwd: directory, env, timeoutMs: 180_000 });
  report(`downloading nats-server of Debian ${suite}`);
  await runCommand("apt-get", ["-q", "download", "nats-server"], {
    cwd: directory,
    env,
    timeoutMs: 180_000,
  });
  const deb = (await readdir(directory)).find((name) => name.endsWith(".deb"));
  if (deb === undefined) {
    throw new Error(`apt-get downloaded no package from Debian ${suite}`);
  }
  await runCommand("dpkg-deb", ["-x", deb, "package"], { cwd: directory, env, timeoutMs: 60_000 });
  return join(directory, "package", "usr", "sbin", "nats-server");
}

/**
 * The system's configuration is left out, for its hooks and its pins, but for
 * how it reaches the archive (a proxy, say). Its word on signatures does not count.
 */
function aptConfig(directory: string, settings: string): string {
  const acquire = settings.split("\n").filter((line) => line.startsWith("Acquire::"));
  return `${acquire.join("\n")}
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::sourcelist "${join(directory, "sources.list")}";
Dir::Etc::sourceparts "/dev/null";
Dir::State "${directory}";
Dir::State::lists "${join(directory, "lists")}";
Dir::State::status "${join(directory, "status")}";
Dir::Cache "${join(directory, "cache")}";
Dir::Log "${directory}";
// Root would download as another user, who cannot write into the folder.
APT::Sandbox::User "";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::GzipIndexes "true";
Acquire::Languages "none";
Acquire::Retries "0";
Acquire::http::Timeout "5";
Acquire::https::Timeout "5";
`;
}
