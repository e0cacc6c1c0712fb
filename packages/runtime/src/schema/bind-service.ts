import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { bindingOf, type ServiceBinding } from "./binding.js";
import { checkService } from "./option-problems.js";

const sound = /* @__PURE__ */ new WeakSet<DescService>();

/**
 * Tells where a service and its methods lie on NATS.
 *
 * Throws a ConnectError with Code.InvalidArgument for what is no service, and when an option
 * is contradictory or impossible. The generator refuses such a .proto already.
 */
export function bindService(desc: DescService): ServiceBinding {
  const binding = bindingOf(desc);
  if (!sound.has(desc)) {
    const problem = checkService(desc)[0];
    if (problem) {
      throw new ConnectError(
        `${problem.desc.toString()}: ${problem.message}`,
        Code.InvalidArgument,
      );
    }
    sound.add(desc);
  }
  return binding;
}
