from benchmarks.detection.run import main

main()
