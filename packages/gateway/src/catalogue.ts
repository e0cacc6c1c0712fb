import { type DescFile, type DescMethod, type DescService, equals } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { createConnectRouter } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { type Connection, describeService, listServices } from "@jetrpc/runtime";
import { bindMethod, bindService, typesOf } from "@jetrpc/runtime/schema";
import { DirectUnary, RunningCalls } from "./direct-unary.js";
import { KnownTypes } from "./known-types.js";
import { proxy } from "./proxy.js";
import { rawService } from "./raw-service.js";
import type { Log } from "./to-client.js";

/** A method that the gateway serves. */
export interface Route {
  readonly desc: DescMethod;
  readonly delivery: "direct" | "durable";
  /** The same method, whose messages stay bytes; not a request that may hold a Blob. */
  readonly raw: DescMethod;
  /** Answers common requests of a direct unary method; undefined for other methods. */
  readonly short: DirectUnary | undefined;
  /** The handler of requests of a content type. */
  handler(contentType: string | undefined): UniversalHandler;
}

/** Lends a connection to ask workers on. */
type Discovery = <T>(ask: (connection: Connection) => Promise<T>) => Promise<T>;

/** Options of a {@link Catalogue}. */
export interface CatalogueOptions {
  readonly readMaxBytes: number;
  readonly shutdownSignal: AbortSignal;
  /** Lends the connection that workers are asked on; undefined where all services are given. */
  readonly discovery: Discovery | undefined;
  readonly log: Log;
}

/** How long what workers said is not asked for again, in ms: of a service that is known. */
const freshMs = 10_000;
/** From this age on a call waits for the answer: its JSON may have fields that are new since. */
const staleMs = 60_000;
/** How long a service or method that nobody knew is not asked for again, in ms. */
const unknownMs = 1_000;
/** How long a worker may take to describe itself, in ms; that there is none is known at once. */
const answerMs = 5_000;
/** Most names that are remembered as unknown. */
const maxUnknown = 1_000;

/** A content type of binary messages; all others are for who reads messages by their schema. */
const isBinary = /^application\/(?:(?:connect\+)?proto|grpc(?:-web)?(?:\+proto)?)$/i;

/** `/pdf.v1.PdfService/Split` */
const pathPattern = /^\/([A-Za-z_][\w.]{0,254})\/([A-Za-z_]\w{0,254})$/;

/**
 * The methods that are served, by their path. Where no schema was given, it asks the workers,
 * at the first call of a service and again when a method is unknown. It forgets none: a method
 * that nobody serves any more fails as such a method does over NATS.
 */
export class Catalogue {
  private readonly routes = new Map<string, Route>();
  private readonly services = new Map<string, DescService>();
  private readonly asked = new Map<string, number>();
  private readonly asking = new Map<string, Promise<void>>();
  private discovering: Promise<void> | undefined;
  private discoveredAt = 0;
  /** All types of the services that are known: what an Any may hold in JSON. */
  readonly types = new KnownTypes();

  private readonly running: RunningCalls;

  constructor(private readonly options: CatalogueOptions) {
    this.running = new RunningCalls(options.shutdownSignal);
  }

  /** Adds a service, or what is new of it. Throws InvalidArgument when its options are impossible. */
  add(service: DescService): void {
    bindService(service);
    const known = this.services.get(service.typeName);
    if (known && isSame(known, service)) {
      return;
    }
    const raw = rawService(service);
    for (const desc of service.methods) {
      const its = raw.method[desc.localName] as DescMethod;
      this.routes.set(pathOf(desc), this.route(desc, its));
    }
    this.services.set(service.typeName, service);
    this.types.add(service);
  }

  /**
   * Learns of all services that run: the types of an Any have to be known before it is read. Only
   * the first one who asks waits.
   */
  async refresh(): Promise<void> {
    const { discovery, log } = this.options;
    if (discovery && !this.discovering && Date.now() - this.discoveredAt > freshMs) {
      this.discovering = this.discover(discovery)
        .catch((error: unknown) => log(`workers cannot be asked: ${String(error)}`))
        .finally(() => {
          this.discoveredAt = Date.now();
          this.discovering = undefined;
        });
    }
    if (this.discoveredAt === 0) {
      await this.discovering;
    }
  }

  /** The services that are known. */
  get all(): Iterable<DescService> {
    return this.services.values();
  }

  /** True for a service that is known, whether a worker serves it or not. */
  has(typeName: string): boolean {
    return this.services.has(typeName);
  }

  private async discover(discovery: Discovery): Promise<void> {
    const names = new Set((await discovery((its) => listServices(its))).map((it) => it.typeName));
    await Promise.all([...names].map((name) => this.ask(name)));
  }

  /** The method of a path; undefined when nobody knows it. Throws Unavailable. */
  async find(path: string): Promise<Route | undefined> {
    const name = this.options.discovery && pathPattern.exec(path)?.[1];
    if (name !== undefined && this.ageOf(name) > unknownMs) {
      await this.ask(name);
    }
    return this.routes.get(path);
  }

  /** The method of a path, where it is known already, and not from long ago. */
  known(path: string): Route | undefined {
    const route = this.routes.get(path);
    if (!route || !this.options.discovery) {
      return route;
    }
    const name = route.desc.parent.typeName;
    const age = this.ageOf(name);
    if (age > freshMs) {
      // The call at hand does not wait for it.
      void this.ask(name);
    }
    return age > staleMs ? undefined : route;
  }

  /** How long ago workers were asked for a service, in ms. */
  private ageOf(name: string): number {
    return Date.now() - (this.asked.get(name) ?? 0);
  }

  /** Has a worker describe a service. Those who ask meanwhile get the same answer. */
  private ask(name: string): Promise<void> {
    let answer = this.asking.get(name);
    if (!answer) {
      answer = this.describe(name).finally(() => this.asking.delete(name));
      this.asking.set(name, answer);
    }
    return answer;
  }

  private async describe(name: string): Promise<void> {
    const { discovery, log } = this.options;
    if (!discovery) {
      return;
    }
    try {
      this.add(
        await discovery((connection) => describeService(connection, name, { timeoutMs: answerMs })),
      );
    } catch (error) {
      if (this.services.has(name)) {
        log(`${name} is served as it was: ${String(error)}`);
      }
    }
    if (this.asked.size >= maxUnknown && !this.asked.has(name)) {
      this.asked.clear();
    }
    this.asked.set(name, Date.now());
  }

  private route(desc: DescMethod, raw: DescMethod): Route {
    const { readMaxBytes, shutdownSignal, log } = this.options;
    const options = {
      acceptCompression: [compressionGzip, compressionBrotli],
      readMaxBytes,
      shutdownSignal,
      jsonOptions: { registry: typesOf(desc.parent) },
    };
    const handlerOf = (method: DescMethod): UniversalHandler => {
      const router = createConnectRouter(options);
      proxy(router, method, log);
      return router.handlers[0] as UniversalHandler;
    };
    const typed = handlerOf(desc);
    const binary = handlerOf(raw);
    return {
      desc,
      raw,
      delivery: bindMethod(desc).delivery,
      short: DirectUnary.of(desc, raw, { ...options, log }, this.running),
      handler: (contentType) => (isBinary.test(contentType ?? "") ? binary : typed),
    };
  }
}

/** The path of a method, as Connect and gRPC have it. */
function pathOf({ parent, name }: DescMethod): string {
  return `/${parent.typeName}/${name}`;
}

/** True when two descriptions of a service and of all that it uses are the same. */
function isSame(a: DescService, b: DescService): boolean {
  const [of, others] = [filesOf(a), filesOf(b)];
  return (
    of.length === others.length &&
    of.every((file, i) => equals(FileDescriptorProtoSchema, file, others[i] as typeof file))
  );
}

function filesOf({ file }: DescService): FileDescriptorProto[] {
  const files = new Map<string, FileDescriptorProto>();
  const add = ({ proto, dependencies }: DescFile) => {
    if (!files.has(proto.name)) {
      files.set(proto.name, proto);
      dependencies.forEach(add);
    }
  };
  add(file);
  return [...files.values()];
}
