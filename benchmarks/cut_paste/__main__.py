from benchmarks.cut_paste.run import main

main()
