import type { Role } from "@jetrpc/runtime/operator";
import type { Command } from "commander";

/** A verb of the command. Its code is loaded when it is asked for: the help needs none of it. */
export interface Verb {
  readonly name: string;
  readonly description: string;
  /** The role whose credentials are enough for all of it. */
  readonly role?: Role;
  /** Not for people. */
  readonly isHidden?: boolean;
  load(): Promise<(program: Command) => Command>;
}

/** The verbs, in the order of the help. A new one is a file of this folder and an entry here. */
export const verbs: readonly Verb[] = [
  {
    name: "server",
    description: "run a nats-server on this machine, for development",
    load: async () => (await import("./server.js")).serverCommand,
  },
  {
    name: "dev",
    description: "run all of a repository while you write it: server, workers, generated code",
    load: async () => (await import("./dev.js")).devCommand,
  },
  {
    name: "apply",
    role: "administrator",
    description: "make streams, consumers and buckets as the schema says",
    load: async () => (await import("./apply.js")).applyCommand,
  },
  {
    name: "doctor",
    description: "find what is wrong with the server, and how to mend it",
    load: async () => (await import("./doctor.js")).doctorCommand,
  },
  {
    name: "permissions",
    description: "write the least permissions of users, from the schema",
    load: async () => (await import("./permissions.js")).permissionsCommand,
  },
  {
    name: "call",
    role: "client",
    description: "call a method, or submit a durable call",
    load: async () => (await import("./call.js")).callCommand,
  },
  {
    name: "calls",
    role: "operator",
    description: "find durable calls, follow and end them",
    load: async () => (await import("./calls.js")).callsCommand,
  },
  {
    name: "dead",
    role: "operator",
    description: "look after calls that failed for good",
    load: async () => (await import("./dead.js")).deadCommand,
  },
  {
    name: "services",
    role: "observer",
    description: "show which services run: workers, versions, methods, load",
    load: async () => (await import("./services.js")).servicesCommand,
  },
  {
    name: "top",
    role: "operator",
    description: "watch what each durable method has queued and does, in the terminal",
    load: async () => (await import("./top.js")).topCommand,
  },
  {
    name: "check",
    role: "operator",
    description:
      "tell whether it is safe to deploy a schema: what it would break, and for which calls",
    load: async () => (await import("./check.js")).checkCommand,
  },
  {
    name: "queues",
    role: "observer",
    description:
      "show how many calls of each durable method wait and run, and how many workers serve it",
    load: async () => (await import("./queues.js")).queuesCommand,
  },
  {
    name: "pause",
    role: "operator",
    description: "let workers take no further calls of a method; calls are accepted still",
    load: async () => (await import("./pause.js")).pauseCommand,
  },
  {
    name: "resume",
    role: "operator",
    description: "end the pause of a method",
    load: async () => (await import("./resume.js")).resumeCommand,
  },
  {
    name: "metrics",
    role: "observer",
    description: "serve metrics of calls, workers and servers, for Prometheus",
    load: async () => (await import("./metrics.js")).metricsCommand,
  },
  {
    name: "gateway",
    description: "serve services over HTTP: Connect, gRPC, gRPC-Web and JSON",
    load: async () => (await import("./gateway.js")).gatewayCommand,
  },
  {
    name: "console",
    role: "operator",
    description: "serve a web page that shows calls, workers and streams, and acts on them",
    load: async () => (await import("./console.js")).consoleCommand,
  },
  {
    name: "completion",
    description: "print a script that lets a shell complete commands and options",
    load: async () => (await import("./completion.js")).completionCommand,
  },
  {
    name: "complete",
    description: "print what the last of some words may become: for shells",
    isHidden: true,
    load: async () => (await import("./complete.js")).completeCommand,
  },
];
