import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "./run-command.js";

/** A release of nats-server on GitHub. */
export interface NatsRelease {
  readonly version: string;
  /** SHA-256 of the .tar.gz, by `<process.platform>-<process.arch>`. */
  readonly sha256: Readonly<Record<string, string>>;
}

/**
 * The sums are those of the release's SHA256SUMS. For Linux they are also what
 * nats-io/nats-docker pins (2.15.x/alpine3.22/Dockerfile, commit 6299853).
 */
export const pinnedRelease: NatsRelease = {
  version: "2.15.0",
  sha256: {
    "linux-x64": "5d2c51caca950333aba84911df7d377f826f3a59ec36061c6539105084f65c92",
    "linux-arm64": "cdc208f5a3f42963a52b6ab06ef65626bb870315dc936e26ba571780c6351112",
    "darwin-x64": "5bd8b59ca5bf93fab3da2c5843cf564cd6e2e291e22ae3b861746e7ebe259b95",
    "darwin-arm64": "e1c4e22d70bd44abfa0bcb3c16f7cf0c66f648c2e728c58924e8a1ce88913cc8",
  },
};

/** Where nats-server's releases are. */
export const releasesUrl = "https://github.com/nats-io/nats-server/releases/download";

/** How long a server may take to begin its answer, and to go on with it, in ms. */
const silenceMs = 5_000;

/** Where to download from and to. */
export interface DownloadOptions {
  readonly release: NatsRelease;
  /** URL of the folder with a folder for every release. */
  readonly url: string;
  /** An empty folder. */
  readonly directory: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly report: (line: string) => void;
}

/**
 * Downloads a release for this machine and returns the path of its nats-server.
 * Rejects when there is none for this machine, it cannot be had, or it is not
 * the file whose SHA-256 is pinned.
 */
export async function downloadRelease(options: DownloadOptions): Promise<string> {
  const { release, directory, report } = options;
  const platform = `${process.platform}-${process.arch}`;
  const wanted = release.sha256[platform];
  if (wanted === undefined) {
    throw new Error(`no release is pinned for ${platform}`);
  }
  const arch = process.arch === "x64" ? "amd64" : process.arch;
  const name = `nats-server-v${release.version}-${process.platform}-${arch}`;
  const url = `${options.url.replace(/\/$/, "")}/v${release.version}/${name}.tar.gz`;

  report(`downloading ${url}`);
  const archive = await download(url, report);
  const sum = createHash("sha256").update(archive).digest("hex");
  if (sum !== wanted) {
    throw new Error(`${url} has the SHA-256 ${sum}, not ${wanted}`);
  }
  await writeFile(join(directory, "release.tar.gz"), archive);
  await runCommand("tar", ["-xzf", "release.tar.gz", `${name}/nats-server`], {
    cwd: directory,
    env: options.env,
    timeoutMs: 60_000,
  });
  return join(directory, name, "nats-server");
}

async function download(url: string, report: (line: string) => void): Promise<Uint8Array> {
  const silence = new AbortController();
  const timer = setTimeout(
    () => silence.abort(new Error(`no answer within ${silenceMs / 1000} s`)),
    silenceMs,
  );
  try {
    const response = await fetch(url, { signal: silence.signal });
    if (!response.ok || !response.body) {
      throw new Error(`${response.status} ${response.statusText}`);
    }
    const total = Number(response.headers.get("content-length"));
    const chunks: Uint8Array[] = [];
    let size = 0;
    let quarters = 0;
    for await (const chunk of response.body) {
      timer.refresh();
      chunks.push(chunk);
      size += chunk.byteLength;
      if (total > 0 && Math.floor((4 * size) / total) > quarters) {
        quarters = Math.floor((4 * size) / total);
        report(`${megabytes(size)} of ${megabytes(total)} MB`);
      }
    }
    return Buffer.concat(chunks);
  } catch (error) {
    throw new Error(`${url} cannot be downloaded: ${reason(error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** fetch() says no more than "fetch failed" itself; the reason is the cause. */
function reason(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (cause instanceof AggregateError) {
    return cause.errors.map(reason).join(", ");
  }
  return cause instanceof Error ? cause.message : String(cause);
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
