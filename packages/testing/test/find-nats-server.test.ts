import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { delimiter, dirname, join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type FindNatsServerOptions, findNatsServer } from "../src/find-nats-server.js";
import { pinnedRelease } from "../src/nats-release.js";
import { temporaryFolder } from "./temporary-folder.js";

const kind = `${process.platform}-${process.arch}`;
const cachedName = `nats-server-${kind}`;
const noTools = "/nowhere";
/** The system's commands, without a nats-server that may be among them. */
const tools = (process.env["PATH"] ?? "")
  .split(delimiter)
  .filter((directory) => directory !== "" && !existsSync(join(directory, "nats-server")))
  .join(delimiter);

let real: string;
let realVersion: string;
/** Refuses every connection: it was free a moment ago. */
let refused: string;

beforeAll(async () => {
  const found = await findNatsServer();
  real = found.path;
  realVersion = found.version;
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  refused = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await new Promise((resolve) => server.close(resolve));
}, 600_000);

/** A search that finds nothing unless it is told of more. */
function nothing(options: FindNatsServerOptions = {}) {
  const told: string[] = [];
  const all = {
    releasesUrl: refused,
    debianMirror: refused,
    onProgress: (line: string) => told.push(line),
    ...options,
    cacheDir: options.cacheDir ?? temporaryFolder(),
    env: { PATH: noTools, ...options.env },
  };
  return { options: all, told };
}

/** A folder with a nats-server that only tells its version. */
function fakeServer(says: string): string {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "nats-server"), `#!/bin/sh\necho '${says}'\n`, { mode: 0o755 });
  return folder;
}

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("NATS_SERVER_BIN", () => {
  test("comes first", async () => {
    const { options } = nothing({
      env: { NATS_SERVER_BIN: real, PATH: fakeServer("nats-server: v2.99.0") },
    });
    expect(await findNatsServer(options)).toEqual({
      path: real,
      version: realVersion,
      source: "NATS_SERVER_BIN",
    });
  });

  test.each([
    ["a path where nothing is", () => "/no/such/file", "/no/such/file is no executable file"],
    ["a folder", () => "/", "/ is no executable file"],
    ["another program", () => join(fakeServer("1.2.3"), "nats-server"), "is no nats-server"],
    [
      "a server that is too old",
      () => join(fakeServer("nats-server: v2.11.9"), "nats-server"),
      "is nats-server 2.11.9, older than 2.12",
    ],
  ])("%s: says so and goes on", async (_, path, reason) => {
    const { options, told } = nothing({
      env: { NATS_SERVER_BIN: path(), PATH: dirname(real) },
    });
    if (!existsSync(join(dirname(real), "nats-server"))) {
      const folder = temporaryFolder();
      symlinkSync(real, join(folder, "nats-server"));
      options.env.PATH = folder;
    }
    expect(await findNatsServer(options)).toMatchObject({ source: "PATH", version: realVersion });
    expect(told).toEqual([expect.stringMatching(/^NATS_SERVER_BIN: /)]);
    expect(told[0]).toContain(reason);
  });
});

describe("PATH", () => {
  test("passes over a server that is too old", async () => {
    const old = fakeServer("nats-server: v2.9.10");
    const current = fakeServer("nats-server: v2.12.0");
    const { options } = nothing({ env: { PATH: [noTools, old, current].join(delimiter) } });
    expect(await findNatsServer(options)).toEqual({
      path: join(current, "nats-server"),
      version: "2.12.0",
      source: "PATH",
    });
  });

  test("compares versions as numbers", async () => {
    const { options } = nothing({ env: { PATH: fakeServer("nats-server: v10.0.1") } });
    expect(await findNatsServer(options)).toMatchObject({ version: "10.0.1" });
  });
});

describe("cache", () => {
  test("lies in XDG_CACHE_HOME or ~/.cache", async () => {
    for (const variable of ["XDG_CACHE_HOME", "HOME"]) {
      const folder = temporaryFolder();
      const cache = join(folder, variable === "HOME" ? ".cache" : "", "jetrpc");
      mkdirSync(cache, { recursive: true });
      symlinkSync(real, join(cache, cachedName));
      const { options } = nothing({ env: { HOME: "/nowhere", [variable]: folder } });
      const { cacheDir: _, ...rest } = options;
      expect(await findNatsServer(rest)).toEqual({
        path: join(cache, cachedName),
        version: realVersion,
        source: "cache",
      });
    }
  });

  test("what is broken there is not used", async () => {
    const { options, told } = nothing();
    const cached = join(options.cacheDir, cachedName);
    copyFileSync(real, cached);
    truncateSync(cached, 10_000);
    await expect(findNatsServer(options)).rejects.toThrow();
    expect(told.find((line) => line.startsWith("cache: "))).toContain(cached);
  });
});

describe("release", () => {
  test("a refused connection", async () => {
    const { options } = nothing();
    await expect(findNatsServer(options)).rejects.toThrow(
      /^ {2}release: .*cannot be downloaded: connect ECONNREFUSED/m,
    );
  });

  test("no such file", async () => {
    const url = await serve((_, response) => response.writeHead(404).end());
    await expect(findNatsServer(nothing({ releasesUrl: url }).options)).rejects.toThrow(
      /^ {2}release: .*cannot be downloaded: 404 Not Found/m,
    );
  });

  test("a server that says nothing, and one that stops in the middle", async () => {
    const silent = await serve(() => {});
    const stopping = await serve((_, response) => {
      response.writeHead(200, { "content-length": 1000 }).write("beginning");
    });
    await Promise.all(
      [silent, stopping].map((url) =>
        expect(findNatsServer(nothing({ releasesUrl: url }).options)).rejects.toThrow(
          /^ {2}release: .*cannot be downloaded: no answer within 5 s/m,
        ),
      ),
    );
  });

  test("a wrong checksum: the file is not even unpacked", async () => {
    const archive = releaseArchive(fakeServer("nats-server: v2.15.0"));
    const url = await serve((_, response) => response.end(archive));
    const { options } = nothing({ releasesUrl: url, env: { PATH: tools } });
    await expect(findNatsServer(options)).rejects.toThrow(
      `has the SHA-256 ${sha256(archive)}, not ${pinnedRelease.sha256[kind]}`,
    );
    expect(readdirSync(options.cacheDir)).toEqual([]);
  });

  test("is kept in the cache, and found there by two at once", async () => {
    const folder = temporaryFolder();
    symlinkSync(real, join(folder, "nats-server"));
    const archive = releaseArchive(folder);
    const requests: (string | undefined)[] = [];
    const url = await serve((request, response) => {
      requests.push(request.url);
      response.writeHead(200, { "content-length": archive.length }).end(archive);
    });
    pinInstead(sha256(archive));
    const { options, told } = nothing({ releasesUrl: url, env: { PATH: tools } });
    const path = join(options.cacheDir, cachedName);
    const found = { path, version: realVersion, source: "release" };

    expect(await Promise.all([findNatsServer(options), findNatsServer(options)])).toEqual([
      found,
      found,
    ]);
    expect(readdirSync(options.cacheDir)).toEqual([cachedName]);
    expect(requests[0]).toBe(`/v${pinnedRelease.version}/${releaseName}.tar.gz`);
    expect(told.at(-1)).toMatch(/^(\d+\.\d) of \1 MB$/);

    const before = requests.length;
    expect(await findNatsServer(options)).toEqual({ ...found, source: "cache" });
    expect(requests.length).toBe(before);
  });

  test("removes what a killed download left, and nothing that is under way", async () => {
    const { options } = nothing();
    const left = join(options.cacheDir, "download-left");
    const current = join(options.cacheDir, "download-current");
    mkdirSync(left);
    mkdirSync(current);
    const hoursAgo = new Date(Date.now() - 2 * 3_600_000);
    utimesSync(left, hoursAgo, hoursAgo);
    await expect(findNatsServer(options)).rejects.toThrow();
    expect(readdirSync(options.cacheDir)).toEqual(["download-current"]);
  });

  const releaseName = `nats-server-v${pinnedRelease.version}-${process.platform}-${
    process.arch === "x64" ? "amd64" : process.arch
  }`;

  /** A .tar.gz as GitHub has it, with the nats-server of a folder. */
  function releaseArchive(folder: string): Buffer {
    const root = temporaryFolder();
    mkdirSync(join(root, releaseName));
    copyFileSync(join(folder, "nats-server"), join(root, releaseName, "nats-server"));
    execFileSync("tar", ["-czf", "release.tar.gz", releaseName], { cwd: root });
    return readFileSync(join(root, "release.tar.gz"));
  }

  function pinInstead(sum: string): void {
    const sums = pinnedRelease.sha256 as Record<string, string>;
    const pinned = sums[kind] as string;
    sums[kind] = sum;
    onTestFinished(() => {
      sums[kind] = pinned;
    });
  }
});

const hasApt = existsSync("/usr/share/keyrings/debian-archive-keyring.gpg");

describe("Debian", () => {
  test("no apt-get", async () => {
    await expect(findNatsServer(nothing().options)).rejects.toThrow(
      /^ {2}Debian: apt-config is not installed$/m,
    );
  });

  test.runIf(hasApt)("a refused network", async () => {
    const { options } = nothing({
      debianMirror: "http://deb.debian.org/debian",
      env: { PATH: tools, http_proxy: refused },
    });
    await expect(findNatsServer(options)).rejects.toThrow(
      /^ {2}Debian: apt-get failed \(exit code 100\): .*deb\.debian\.org.*Connection refused/m,
    );
    expect(readdirSync(options.cacheDir)).toEqual([]);
  });

  test.runIf(hasApt)("an archive that Debian has not signed", async () => {
    const root = unsignedArchive();
    const asked: string[] = [];
    const url = await serve((request, response) => {
      const path = join(root, request.url ?? "");
      asked.push(request.url ?? "");
      if (existsSync(path)) {
        response.end(readFileSync(path));
      } else {
        response.writeHead(404).end();
      }
    });
    const { options } = nothing({ debianMirror: url, env: { PATH: tools } });
    await expect(findNatsServer(options)).rejects.toThrow(
      /^ {2}Debian: apt-get failed \(exit code 100\): .*sid.* is not signed/m,
    );
    expect(asked).toContain("/dists/sid/Release");
    expect(asked.filter((path) => path.startsWith("/pool"))).toEqual([]);
    expect(readdirSync(options.cacheDir)).toEqual([]);
  });

  test.runIf(hasApt)(
    "the real one, which leaves the system as it was",
    async (context) => {
      const reachable = await fetch("http://deb.debian.org/debian/dists/sid/InRelease", {
        method: "HEAD",
        signal: AbortSignal.timeout(5_000),
      }).catch(() => undefined);
      context.skip(!reachable?.ok, "Debian's archive is out of reach");
      const lists = "/var/lib/apt/lists";
      const system = () => [
        statSync("/etc/apt").mtimeMs,
        statSync("/etc/apt/sources.list.d").mtimeMs,
        existsSync(lists) && readdirSync(lists).filter((name) => name.includes("_dists_sid_")),
      ];
      const before = system();
      const { options } = nothing({
        debianMirror: "http://deb.debian.org/debian",
        env: { ...process.env, NATS_SERVER_BIN: undefined, PATH: tools },
      });
      const found = await findNatsServer(options);
      expect(found).toMatchObject({ path: join(options.cacheDir, cachedName), source: "debian" });
      expect(readdirSync(options.cacheDir)).toEqual([cachedName]);
      expect(execFileSync(found.path, ["--version"], { encoding: "utf8" })).toContain(
        found.version,
      );
      expect(system()).toEqual(before);
    },
    400_000,
  );

  /** An archive in which all is in order but for the signature. */
  function unsignedArchive(): string {
    const root = temporaryFolder();
    const arch = execFileSync("dpkg", ["--print-architecture"], { encoding: "utf8" }).trim();
    const sbin = join(root, "package", "usr", "sbin");
    const control = `Package: nats-server\nVersion: 2.99.0\nArchitecture: ${arch}\nMaintainer: Nobody <nobody@example.com>\nDescription: not to be run\n`;
    mkdirSync(sbin, { recursive: true });
    mkdirSync(join(root, "package", "DEBIAN"));
    mkdirSync(join(root, "pool"));
    copyFileSync(
      join(fakeServer("nats-server: v2.99.0"), "nats-server"),
      join(sbin, "nats-server"),
    );
    writeFileSync(join(root, "package", "DEBIAN", "control"), control);
    execFileSync("dpkg-deb", ["--build", "package", "pool/nats-server.deb"], { cwd: root });
    const deb = readFileSync(join(root, "pool", "nats-server.deb"));
    const packages = `${control}Filename: pool/nats-server.deb\nSize: ${deb.length}\nSHA256: ${sha256(deb)}\n`;
    const folder = join(root, "dists", "sid");
    mkdirSync(join(folder, "main", `binary-${arch}`), { recursive: true });
    writeFileSync(join(folder, "main", `binary-${arch}`, "Packages"), packages);
    writeFileSync(
      join(folder, "Release"),
      `Origin: Debian\nSuite: sid\nCodename: sid\nArchitectures: ${arch}\nComponents: main\nDate: ${new Date().toUTCString()}\nSHA256:\n ${sha256(packages)} ${packages.length} main/binary-${arch}/Packages\n`,
    );
    return root;
  }
});

test("when all fail, the error gives each reason and the way out", async () => {
  const old = fakeServer("nats-server: v2.9.10");
  const { options, told } = nothing({ env: { NATS_SERVER_BIN: "/no/server", PATH: old } });
  const error = await findNatsServer(options).catch((error) => error);
  expect(error.message.split("\n")).toEqual([
    "No nats-server 2.12 or newer was found.",
    "  NATS_SERVER_BIN: /no/server is no executable file",
    `  PATH: ${old}/nats-server is nats-server 2.9.10, older than 2.12`,
    `  cache: no ${options.cacheDir}/${cachedName} yet`,
    expect.stringMatching(/^ {2}release: http.* cannot be downloaded: connect ECONNREFUSED/),
    "  Debian: apt-config is not installed",
    "Install one (macOS: brew install nats-server; else https://github.com/nats-io/nats-server/releases) and put it on PATH, or set NATS_SERVER_BIN to its path.",
  ]);
  expect(error.cause.errors).toHaveLength(5);
  expect(told.filter((line) => !line.startsWith("downloading "))).toHaveLength(5);
});

test("a cache that cannot be written to is a reason like any other", async () => {
  const file = join(temporaryFolder(), "file");
  writeFileSync(file, "");
  const { options } = nothing({ cacheDir: join(file, "cache") });
  await expect(findNatsServer(options)).rejects.toThrow(/^ {2}release: ENOTDIR/m);
});

function sha256(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}
