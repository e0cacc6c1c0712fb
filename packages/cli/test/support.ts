import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable, Writable } from "node:stream";
import {
  createFileRegistry,
  type DescMessage,
  type DescService,
  fromBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import {
  type Connection,
  createClient,
  type DurableUnaryMethod,
  startWorker,
  type WorkerImpl,
  type WorkerOptions,
} from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { afterAll, afterEach, beforeAll } from "vitest";
import { mainOn } from "../src/main.js";

const top = join(import.meta.dirname, "../../..");
const bin = join(top, "node_modules/.bin");

/** A version of the service that these tests set up. */
export interface Version {
  /** Default: SHOP. */
  stream?: string;
  /** Fields of its `(jetrpc.v1.service)` beside the stream. */
  service?: string;
  /** Fields of the `(jetrpc.v1.method)` of Order. */
  order?: string;
  /** The methods beside Price and Order. */
  methods?: string;
}

/** A folder with .proto files of several versions, and what buf makes of them. */
export class Project {
  readonly folder = mkdtempSync(join(tmpdir(), "jetrpc-cli-"));
  private readonly images = new Map<string, string>();

  constructor() {
    cpSync(join(top, "proto/jetrpc"), join(this.folder, "proto/jetrpc"), { recursive: true });
    this.write("buf.yaml", "version: v2\nmodules:\n  - path: proto\n");
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.folder, path)), { recursive: true });
    writeFileSync(join(this.folder, path), text);
  }

  /** Makes a version the present one. */
  writeShop({ stream = "SHOP", service = "", order = "", methods = "" }: Version = {}): void {
    this.write(
      "proto/shop/v1/shop.proto",
      `syntax = "proto3";
package shop.v1;
import "jetrpc/v1/options.proto";
service ShopService {
  option (jetrpc.v1.service) = {stream: "${stream}" ${service}};
  rpc Price(Request) returns (Response) {
    option idempotency_level = NO_SIDE_EFFECTS;
  }
  rpc Order(Request) returns (Response) {
    option (jetrpc.v1.method) = {${order}};
  }
  ${methods}
}
message Request {
  string text = 1;
}
message Response {
  string text = 1;
}
`,
    );
  }

  /** Builds an image of a version, and returns its path. */
  image(version: Version = {}): string {
    const key = JSON.stringify(version);
    const known = this.images.get(key);
    if (known) {
      return known;
    }
    this.writeShop(version);
    const path = join(this.folder, `image-${this.images.size}.binpb`);
    execFileSync(join(bin, "buf"), ["build", "-o", path], { cwd: this.folder, stdio: "pipe" });
    this.images.set(key, path);
    return path;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The service of an image. */
export function serviceOf(image: string, name = "shop.v1.ShopService"): DescService {
  const set = fromBinary(FileDescriptorSetSchema, readFileSync(image));
  return createFileRegistry(set).getService(name) as DescService;
}

/** The output of a command, and how it ended. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a command is given. */
export interface Given {
  /** All of its environment but PATH. */
  env?: Record<string, string>;
  stdin?: string;
}

/** A command that goes on until it is asked to end. */
export interface Running {
  /** What it has written by now. */
  readonly stdout: Written;
  readonly stderr: Written;
  readonly ended: Promise<Outcome>;
  /** Asks it to end, and waits until it has. */
  end(): Promise<Outcome>;
}

/** Keeps what is written to it. */
class Written extends Writable {
  text = "";

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk;
    this.emit("written");
    done();
  }

  /** Waits for its first line. */
  async line(): Promise<string> {
    while (!this.text.includes("\n")) {
      await once(this, "written");
    }
    return this.text.slice(0, this.text.indexOf("\n"));
  }
}

/**
 * Runs the command in this process: to start one takes a second. The working folder is that of
 * `useShop()`. {@link jetrpcProcess} is for what is about the process.
 */
export async function jetrpc(args: readonly string[], given: Given = {}): Promise<Outcome> {
  return await startJetrpc(args, given).ended;
}

/** Starts the command in this process, as {@link jetrpc} does. */
export function startJetrpc(
  args: readonly string[],
  { env = {}, stdin = "" }: Given = {},
): Running {
  const [stdout, stderr, asked] = [new Written(), new Written(), new AbortController()];
  const host = {
    stdin: Readable.from([Buffer.from(stdin)]),
    stdout,
    stderr,
    env: { PATH: process.env["PATH"], ...env },
    signal: asked.signal,
  };
  const ended = mainOn(host, args).then((code) => ({
    code,
    stdout: stdout.text,
    stderr: stderr.text,
  }));
  const end = () => {
    asked.abort();
    return ended;
  };
  return { stdout, stderr, ended, end };
}

/** Runs the built command as a process. */
export async function jetrpcProcess(
  args: readonly string[],
  { env = {}, stdin = "", cwd = tmpdir() }: Given & { cwd?: string } = {},
): Promise<Outcome> {
  const child = spawn(process.execPath, [join(top, "packages/cli/bin/jetrpc.js"), ...args], {
    cwd,
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.end(stdin);
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const [code] = await once(child, "close");
  return { code, stdout, stderr };
}

/** The JSON values of an output with one a line. */
export function linesOf(outcome: Outcome): Record<string, unknown>[] {
  return outcome.stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

/** Request and response of every method. */
interface Shop {
  readonly text: string;
}

/** A client of the shop. */
export type ShopClient = Record<
  "order" | "refund" | "write",
  DurableUnaryMethod<DescMessage, DescMessage>
>;

/** A server for all tests of a file, a project, and what each test opens. */
export function useShop() {
  let server: NatsServer;
  let project: Project;
  const open: (() => Promise<unknown>)[] = [];

  const workingFolder = process.cwd();

  beforeAll(async () => {
    // No schema and no `.env` is found there.
    process.chdir(tmpdir());
    server = await startNats();
    project = new Project();
  });
  afterEach(async () => {
    for (const close of open.splice(0).reverse()) {
      await close();
    }
    const admin = await connect({ nats: { servers: server.url } });
    const names = await api(admin, "STREAM.NAMES");
    for (const name of (names["streams"] as string[] | null) ?? []) {
      await api(admin, `STREAM.DELETE.${name}`);
    }
    await admin.close();
  });
  afterAll(async () => {
    await server?.stop();
    project?.remove();
    process.chdir(workingFolder);
  });

  const self = {
    get server() {
      return server;
    },
    get project() {
      return project;
    },
    /** Runs the command for an image on the server. */
    run: (image: string, ...args: string[]) =>
      jetrpc([...args, "--descriptors", image], { env: { NATS_URL: server.url } }),
    async connect(): Promise<Connection> {
      const connection = await connect({ nats: { servers: server.url } });
      open.push(() => connection.close());
      return connection;
    },
    async client(service: DescService): Promise<ShopClient> {
      return createClient<ShopClient>(service, await self.connect());
    },
    async worker(
      service: DescService,
      impl: Record<string, (request: Shop) => object>,
      options: WorkerOptions = {},
    ) {
      const handlers = impl as unknown as Partial<WorkerImpl<DescService>>;
      const worker = await startWorker(service, handlers, await self.connect(), options);
      open.push(() => worker.drain());
      return worker;
    },
    api: async (name: string, body: object = {}) => await api(await self.connect(), name, body),
  };
  return self;
}

async function api(
  { nats }: Connection,
  name: string,
  body: object = {},
): Promise<Record<string, unknown>> {
  return (await nats.request(`$JS.API.${name}`, JSON.stringify(body))).json();
}
