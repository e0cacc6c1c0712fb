import type { Command } from "commander";
import { applyCommand } from "./apply.js";
import { completionCommand } from "./completion.js";
import { deadCommand } from "./dead.js";
import { doctorCommand } from "./doctor.js";
import { pauseCommand } from "./pause.js";
import { permissionsCommand } from "./permissions.js";
import { queuesCommand } from "./queues.js";
import { resumeCommand } from "./resume.js";
import { serverCommand } from "./server.js";

/** The verbs, in the order of the help. A new one is a file of this folder and a line here. */
export const commands: readonly ((program: Command) => Command)[] = [
  serverCommand,
  applyCommand,
  doctorCommand,
  permissionsCommand,
  deadCommand,
  queuesCommand,
  pauseCommand,
  resumeCommand,
  completionCommand,
];
