from benchmarks.redo.run import main

main()
