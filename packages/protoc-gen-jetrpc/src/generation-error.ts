/** What a person has to mend in their .proto files or options; the text says where and how. */
export class GenerationError extends Error {}
