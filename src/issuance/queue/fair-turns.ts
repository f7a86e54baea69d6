import { createHeap, type Heap } from './heap.ts';
import { PRIORITIES, type Priority } from './priority.ts';

/** One that waits. */
export interface Turn<T> {
  readonly item: T;
  readonly lane: Lane<T>;
  readonly priority: Priority;
  /** 0: the most urgent. */
  readonly rank: number;
  /** Who came first. */
  readonly order: number;
}

/** What waits for one backend of a mesh. */
export interface Lane<T> {
  readonly mesh: Mesh<T>;
  readonly waiting: Heap<Turn<T>>;
  /** False: nothing of it comes to its turn. */
  isOpen: boolean;
}

interface Mesh<T> {
  readonly name: string;
  /** The open ones with somebody in them. */
  readonly lanes: Heap<Lane<T>>;
  lanesInAll: number;
  waiting: number;
  /** Places that it holds. */
  held: number;
  /** Its virtual time: what it has been served, weighted by what that costs. */
  spent: number;
  /** Its virtual time once its next one is served: the least is served. */
  tag: number;
  isInTurn: boolean;
}

export interface FairTurns<T> {
  /** All that wait. */
  readonly waiting: number;
  /** Whether somebody waits whose lane is open. */
  readonly isWanted: boolean;
  waitingOf(mesh: string): number;
  createLane(mesh: string): Lane<T>;
  /** What waits in it must be gone. */
  removeLane(lane: Lane<T>): void;
  setOpen(lane: Lane<T>, isOpen: boolean): void;
  add(lane: Lane<T>, priority: Priority, item: T): Turn<T>;
  /** False when it waits no longer. */
  remove(turn: Turn<T>): boolean;
  /**
   * Takes out who is served next: of the mesh with the least virtual time the most urgent, and of equally urgent ones the first. Its mesh holds a
   * place then, until `giveBack`.
   * @param onlyNewcomers pass over meshes that hold a place already
   */
  next(onlyNewcomers: boolean): Turn<T> | undefined;
  /** Takes out who is next in one lane, which may be closed, without a place and at no cost. */
  nextOf(lane: Lane<T>): Turn<T> | undefined;
  /** @param extra how much more than others it has cost: 1 for as much again */
  giveBack(turn: Turn<T>, extra: number): void;
}

/** What being served costs: a mesh with urgent work gets more of the places, and none gets nothing. */
export const COSTS: Readonly<Record<Priority, number>> = { first: 1, expiring: 2, changed: 4, renewal: 8 };
/** A mesh that was served slowly falls no further behind the others. */
export const LONGEST_LEAD = 64;

/**
 * Whose turn it is. Weighted fair queueing between meshes: self-clocked, after S. J. Golestani, "A self-clocked fair queueing scheme for broadband
 * applications" (INFOCOM 1994), so that who comes new starts at the tag that was served last, neither with credit nor in debt. All in O(log n).
 */
export function createFairTurns<T>(): FairTurns<T> {
  const meshes = new Map<string, Mesh<T>>();
  const isMeshBefore = (one: Mesh<T>, other: Mesh<T>) =>
    one.tag === other.tag ? headOrder(one) < headOrder(other) : one.tag < other.tag;
  /** Those in turn, by whether they hold a place. */
  const newcomers = createHeap(isMeshBefore);
  const holders = createHeap(isMeshBefore);
  let virtualTime = 0;
  let orders = 0;
  let waiting = 0;

  function meshOf(name: string): Mesh<T> {
    const known = meshes.get(name);
    if (known !== undefined) return known;
    const mesh: Mesh<T> = {
      name,
      lanes: createHeap<Lane<T>>((one, other) => {
        const [first, second] = [one.waiting.peek(), other.waiting.peek()];
        return first !== undefined && second !== undefined && isTurnBefore(first, second);
      }),
      ...{ lanesInAll: 0, waiting: 0, held: 0, spent: virtualTime, tag: virtualTime, isInTurn: false },
    };
    meshes.set(name, mesh);
    return mesh;
  }

  /** Puts a lane, and its mesh, to where they belong now. */
  function settle(lane: Lane<T>): void {
    const { mesh } = lane;
    if (lane.isOpen && lane.waiting.size > 0) mesh.lanes.put(lane);
    else mesh.lanes.delete(lane);
    settleMesh(mesh);
  }

  function settleMesh(mesh: Mesh<T>): void {
    const head = mesh.lanes.peek()?.waiting.peek();
    if (head === undefined) {
      mesh.isInTurn = false;
      newcomers.delete(mesh);
      holders.delete(mesh);
      return;
    }
    // Time in which it wanted nothing is no credit.
    if (!mesh.isInTurn) mesh.spent = Math.max(mesh.spent, virtualTime);
    mesh.isInTurn = true;
    const [its, other] = mesh.held === 0 ? [newcomers, holders] : [holders, newcomers];
    other.delete(mesh);
    mesh.tag = mesh.spent + COSTS[head.priority];
    its.put(mesh);
  }

  function takeOut(turn: Turn<T>): boolean {
    if (!turn.lane.waiting.delete(turn)) return false;
    waiting -= 1;
    turn.lane.mesh.waiting -= 1;
    settle(turn.lane);
    return true;
  }

  function firstMesh(onlyNewcomers: boolean): Mesh<T> | undefined {
    const newcomer = newcomers.peek();
    const holder = onlyNewcomers ? undefined : holders.peek();
    if (newcomer === undefined || holder === undefined) return newcomer ?? holder;
    return isMeshBefore(holder, newcomer) ? holder : newcomer;
  }

  return {
    get waiting() {
      return waiting;
    },
    get isWanted() {
      return newcomers.size + holders.size > 0;
    },
    waitingOf: (mesh) => meshes.get(mesh)?.waiting ?? 0,
    createLane(name) {
      const mesh = meshOf(name);
      mesh.lanesInAll += 1;
      return { mesh, waiting: createHeap<Turn<T>>(isTurnBefore), isOpen: true };
    },
    removeLane({ mesh }) {
      mesh.lanesInAll -= 1;
      if (mesh.lanesInAll === 0) meshes.delete(mesh.name);
    },
    setOpen(lane, isOpen) {
      if (lane.isOpen === isOpen) return;
      lane.isOpen = isOpen;
      settle(lane);
    },
    add(lane, priority, item) {
      const turn: Turn<T> = { item, lane, priority, rank: PRIORITIES.indexOf(priority), order: orders };
      orders += 1;
      waiting += 1;
      lane.mesh.waiting += 1;
      lane.waiting.put(turn);
      settle(lane);
      return turn;
    },
    remove: takeOut,
    next(onlyNewcomers) {
      const mesh = firstMesh(onlyNewcomers);
      const turn = mesh?.lanes.peek()?.waiting.peek();
      if (mesh === undefined || turn === undefined) return undefined;
      mesh.spent = mesh.tag;
      virtualTime = Math.max(virtualTime, mesh.tag);
      mesh.held += 1;
      takeOut(turn);
      return turn;
    },
    nextOf(lane) {
      const turn = lane.waiting.peek();
      if (turn !== undefined) takeOut(turn);
      return turn;
    },
    giveBack({ lane: { mesh }, priority }, extra) {
      mesh.held -= 1;
      const spent = Math.min(mesh.spent + COSTS[priority] * extra, virtualTime + LONGEST_LEAD);
      mesh.spent = Math.max(mesh.spent, spent);
      settleMesh(mesh);
    },
  };
}

function isTurnBefore(one: Turn<unknown>, other: Turn<unknown>): boolean {
  return one.rank === other.rank ? one.order < other.order : one.rank < other.rank;
}

function headOrder<T>(mesh: Mesh<T>): number {
  return mesh.lanes.peek()?.waiting.peek()?.order ?? Number.POSITIVE_INFINITY;
}
