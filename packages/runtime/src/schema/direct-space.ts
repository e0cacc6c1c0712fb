import type { MethodBinding } from "./binding.js";

/** Begins the names of the objects of direct calls. */
export function directSpace(method: MethodBinding): string {
  return `rpc.${method.desc.name}`;
}
