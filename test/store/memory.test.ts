import { createMemoryStore } from '../../src/store/memory/memory-store.ts';
import { testStore } from '../conformance/store.ts';

testStore('the memory store', async (clock) => createMemoryStore({ clock }));
