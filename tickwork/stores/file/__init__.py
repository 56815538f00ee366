"""Tasks and runs in the files of a folder, for the processes of one host.

    tasks/close_day.json  a file for each task, for people: to read, and to edit while nothing runs
    runs-1.jsonl          the log: what happened, a line for each change of a run or of a lock
    documents/kind/key.json  a file for each document that is kept beside tasks and runs
    lock                  what the step that is being taken holds

**Working state.** Each client holds everything in memory, as the memory store does, and takes its
steps there, with the same code. A step holds the lock, so there is one at a time; it first takes
over what others wrote since, which is the end of the log, from where it stopped reading. If nobody
wrote anything, that costs three calls of `stat`, however much is stored.

**A step** goes through these states; whatever ends it, it is in one of them:

1. *Nothing happened.* The change is in this client's memory only. If the step fails here (a
   decision raised, the disk is full), what is in memory is thrown away and read again.
2. *Torn.* Some bytes are in the log, but not the seal that ends the step with its length and
   checksum. Nothing happened for everybody; whoever appends next cuts these bytes off.
3. *Decided.* The seal is there. All of the step has happened: tasks have moved on, their runs
   exist, leases and counts hold. All of it stands in the log; this is the outbox rule for all
   tasks of a step at once. It is told to the caller when it is on the disk (durability "full").
4. *Filed.* The files of the tasks that it changed are replaced, each atomically, without waiting
   for the disk; a mark in the log says so. If that didn't happen, because of a crash or a full
   disk, then whoever takes the next step, in whatever process, does it first. Doing it twice does
   no harm, since the files say where the tasks stand and not what changed.
5. *Synced.* When a client closes, the files of all tasks changed since the last time are on the
   disk, and a mark says so. Before that, a power cut may have lost some: who opens the folder
   compares files with what the log says of their tasks, and writes again what is behind.

Nothing is lost, because the log has everything that has no file on the disk. Nothing is doubled or
folded twice, because a step is one sealed piece, and because each run is a whole record under its
id: reading one twice changes nothing.

**The log** says runs whole, so that the newest line of a run counts. It is renewed when most of it
is history: what is kept of runs, and of tasks what was changed since their files were synced, goes
into the next file, which gets its name only when it is on the disk.

**People.** The file of a task is the truth about it as soon as the log has been synced: while
nothing is running, and after a clean end, it may be edited, removed or put back, and that counts at
the next start. After a crash an edit counts too, a removal may be undone. A file that can't be
understood is shown with its reason and kept. How many runs are active isn't in the files, it
follows from the runs. What waits for a task whose file was removed is cancelled at the next start.

**Beats** of nodes are lines of the log too, and go with its next renewal; nobody waits for the disk
for them, since no node survives a power cut.

**Locks** that schedulers and users ask for are lines of the log, too. Who got one, for which labels
it is kept, and that it was given back survives a power cut. Its owner doesn't, so nobody waits for
the disk where one is only renewed.

**Documents** are files and nothing else: changing one is one atomic replacement under the lock.

**Limits.** One host: see `locking` about network file systems. All tasks and all kept runs are in
the memory of each client. Opening reads all files of tasks (100,000 take about ten seconds).
Durability "normal" doesn't wait for the disk at each step: a power cut may lose the last ones, and
keep the file of a task that had moved on in them, so that the runs it had planned are gone.
"""

from tickwork.stores.file.store import FileStore

__all__ = ["FileStore"]
