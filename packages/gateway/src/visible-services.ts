import type { DescFile, DescMethod, DescService } from "@bufbuild/protobuf";
import { type Identity, mayCall } from "./identity.js";

/** A service as far as somebody may call it. */
export interface VisibleService {
  readonly desc: DescService;
  /** The methods that may be called: at least one, or all of them, where nothing is withheld. */
  readonly methods: readonly DescMethod[];
  /** True when the identity is bound to some methods: other parts of the schema are not shown. */
  readonly isLimited: boolean;
}

/** What an identity may call of services. */
export function visibleServices(
  services: Iterable<DescService>,
  identity: Identity,
): VisibleService[] {
  const visible: VisibleService[] = [];
  for (const desc of services) {
    const methods = desc.methods.filter(({ name }) =>
      mayCall(identity, `${desc.typeName}/${name}`),
    );
    if (methods.length > 0 || !identity.methods) {
      visible.push({ desc, methods, isLimited: identity.methods !== undefined });
    }
  }
  return visible.sort((a, b) => (a.desc.typeName < b.desc.typeName ? -1 : 1));
}

/** A file and all that it imports, each once. */
export function withImports(file: DescFile, into = new Map<string, DescFile>()): DescFile[] {
  if (!into.has(file.proto.name)) {
    into.set(file.proto.name, file);
    for (const dependency of file.dependencies) {
      withImports(dependency, into);
    }
  }
  return [...into.values()];
}
