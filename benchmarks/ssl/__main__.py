from benchmarks.ssl.run import main

main()
