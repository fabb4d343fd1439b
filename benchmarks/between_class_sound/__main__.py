from benchmarks.between_class_sound.run import main

main()
