export interface ResourceDocument {
  type: string;
  mesh: string;
  name: string;
  body: Record<string, unknown>;
  line: number;
}
export function parseDocuments(_text: string): ResourceDocument[] {
  return [];
}
