/** Order of what is told of data planes: by name, in code units, whatever the machine's language. What is of none of them goes first. */
export function byDataplane(a: { readonly dataplane: string }, b: { readonly dataplane: string }): number {
  return Number(a.dataplane > b.dataplane) - Number(a.dataplane < b.dataplane);
}
