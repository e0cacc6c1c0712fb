import { createRegistry, type DescMethod, type DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type Connection } from "@jetrpc/runtime";
import { createOperator, type Operator } from "@jetrpc/runtime/operator";
import { bindMethod, bindService, type MethodBinding, typesOf } from "@jetrpc/runtime/schema";
import type { ConsoleOptions, Schema } from "./console-options.js";
import { delay } from "./delay.js";

/** How long it waits before it connects anew, in ms. */
const retryMs = 2_000;

/** How often workers are asked for their schema, in ms. */
const schemaMs = 60_000;

/** A service, and who acts on its calls. */
export interface Operated {
  readonly service: DescService;
  readonly operator: Operator;
}

/** The NATS server that is looked at, and the schema; both may come late and go away. */
export class Target {
  schema: Schema | undefined;
  /** Why there is no schema; empty when there is. */
  schemaProblem = "";
  private isUp = true;
  private schemaAt = 0;
  private operated = new Map<string, Operated>();
  private readonly ended = new AbortController();
  private readonly listeners = new Set<() => void>();

  private constructor(
    private readonly options: Pick<ConsoleOptions, "connect" | "schema" | "log">,
    private current: Connection,
  ) {
    void this.keepConnected();
  }

  /** Errors: those of `connect`. */
  static async open(options: Pick<ConsoleOptions, "connect" | "schema" | "log">): Promise<Target> {
    const target = new Target(options, await options.connect());
    await target.refreshSchema();
    return target;
  }

  get connection(): Connection {
    return this.current;
  }

  get isConnected(): boolean {
    return this.isUp;
  }

  get services(): readonly DescService[] {
    return this.schema?.services ?? [];
  }

  /** Calls back when the connection is lost, and when it is there again. */
  onChange(listener: () => void): void {
    this.listeners.add(listener);
  }

  /** Throws Unavailable while NATS is away. */
  checkConnected(): void {
    if (!this.isUp) {
      throw new ConnectError(
        `NATS at ${this.address} does not answer; the console tries on`,
        Code.Unavailable,
      );
    }
  }

  /** Host and port of the server. */
  get address(): string {
    return this.current.nats.getServer();
  }

  /** The services that have durable methods; one of them, if it is named. Throws NotFound. */
  operators(name = ""): Operated[] {
    if (name !== "") {
      return [this.operator(name)];
    }
    return this.services.filter(hasDurable).map(({ typeName }) => this.operator(typeName));
  }

  /** Throws NotFound for a service that the schema lacks. */
  operator(name: string): Operated {
    const known = this.operated.get(name);
    if (known) {
      return known;
    }
    const service = this.services.find(({ typeName }) => typeName === name);
    if (!service) {
      throw notFound(`service ${name}`);
    }
    const made = { service, operator: createOperator(this.current, service) };
    this.operated.set(name, made);
    return made;
  }

  /** Throws NotFound for a method that the schema lacks. */
  method(service: string, name: string): MethodBinding {
    const desc = this.operator(service).service.methods.find((each) => each.name === name);
    if (!desc) {
      throw notFound(`method ${service}.${name}`);
    }
    return bindMethod(desc as DescMethod);
  }

  /** Asks for the schema, where it is time to. What was known once stays. */
  async refreshSchema(): Promise<void> {
    const isDue =
      !this.schema || this.schemaProblem !== "" || Date.now() - this.schemaAt > schemaMs;
    if (!isDue || !this.isUp) {
      return;
    }
    this.schemaAt = Date.now();
    try {
      const found = await this.options.schema(this.current);
      this.schemaProblem = "";
      if (found !== this.schema) {
        this.schema = joined(found, this.schema);
        this.operated.clear();
      }
    } catch (error) {
      this.schemaProblem = ConnectError.from(error).rawMessage;
    }
  }

  async close(): Promise<void> {
    this.ended.abort();
    await this.current.close();
  }

  private async keepConnected(): Promise<void> {
    const { signal } = this.ended;
    while (!signal.aborted) {
      const { nats, closed } = this.current;
      for await (const { type } of nats.status()) {
        if (type === "disconnect" || type === "reconnect") {
          this.setUp(type === "reconnect");
        }
      }
      // It ends by itself when the server refuses it.
      const reason = await closed;
      this.setUp(false, reason?.rawMessage);
      await this.connectAnew();
    }
  }

  private async connectAnew(): Promise<void> {
    const { signal } = this.ended;
    while (!signal.aborted) {
      await delay(retryMs, signal);
      const connection = signal.aborted
        ? undefined
        : await this.options.connect().catch(() => undefined);
      if (connection && signal.aborted) {
        await connection.close();
      } else if (connection) {
        this.current = connection;
        this.operated.clear();
        this.setUp(true);
        return;
      }
    }
  }

  private setUp(isUp: boolean, why?: string): void {
    if (isUp === this.isUp || this.ended.signal.aborted) {
      return;
    }
    this.isUp = isUp;
    this.options.log?.(
      isUp
        ? `NATS at ${this.address} is there again`
        : `NATS at ${this.address} does not answer${why ? ` (${why})` : ""}: trying on`,
    );
    for (const listener of this.listeners) {
      listener();
    }
  }
}

function hasDurable(service: DescService): boolean {
  return [...bindService(service).methods.values()].some(({ delivery }) => delivery === "durable");
}

/** A service whose workers have gone still has calls. */
function joined(found: Schema, known: Schema | undefined): Schema {
  const gone = (known?.services ?? []).filter(
    ({ typeName }) => !found.services.some((each) => each.typeName === typeName),
  );
  if (gone.length === 0) {
    return found;
  }
  const services = [...found.services, ...gone].sort((a, b) => (a.typeName < b.typeName ? -1 : 1));
  return { services, registry: createRegistry(found.registry, ...gone.map(typesOf)) };
}

function notFound(what: string): ConnectError {
  return new ConnectError(`the schema has no ${what}`, Code.NotFound);
}
