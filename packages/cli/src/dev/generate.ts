import type { DevOutput } from "./dev-output.js";
import type { ProcessGroup, ProcessGroups } from "./process-groups.js";

const name = "generate";

/** Runs the command that generates code. True when it succeeded: otherwise all is said. */
export async function generate(
  command: string,
  groups: ProcessGroups,
  env: NodeJS.ProcessEnv,
  output: DevOutput,
  onStart: (group: ProcessGroup) => void,
): Promise<boolean> {
  const group = groups.start(command, env);
  onStart(group);
  output.follow(name, group);
  const { code, signal } = await group.ended;
  if (code === 0) {
    return true;
  }
  // `jetrpc dev` ends, and has ended it.
  if (signal === "SIGKILL") {
    return false;
  }
  if (code === 127 && /^buf\b/.test(command)) {
    output.write(name, "buf is not installed: run `npm install --save-dev @bufbuild/buf`", "error");
  } else {
    output.write(name, `\`${command}\` failed (${signal ?? `exit code ${code}`})`, "error");
  }
  return false;
}
