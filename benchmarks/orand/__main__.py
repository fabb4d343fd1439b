from benchmarks.orand.run import main

main()
